"""Judge the service at 127.0.0.1:8080 by its answers; exit code 0 is a pass."""

from __future__ import annotations

import http.client
import json
import os
import sys
from urllib.parse import quote

PORT = 8080
PRICES = "/app/prices.json"
# Names and numbers that the agent never saw: a service that has its answers built in does not get by.
FIRST = {"coffee": 905, "green tea": 650, "sugar": 175}
NEWER = {"coffee": 915, "green tea": 650, "cocoa/dark": 720, "crème": 1}
SECONDS = 10  # for each answer
LIMIT = 1 << 16  # bytes that are read of an answer


def main() -> int:
    """0 where every answer is right. What fails is said, what would be right is not: people read this in the record of the trial."""
    problems: list[str] = []
    for when, prices, gone in (("at first", FIRST, "cocoa/dark"), ("with a newer file", NEWER, "sugar")):
        replace_prices(prices)
        problems += [f"{when}: {problem}" for problem in differences(prices, gone)]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def replace_prices(prices: dict[str, int]) -> None:
    """Written beside the file and renamed, as the instruction's "replaced": a service never meets half a file."""
    beside = f"{PRICES}.{os.getpid()}"
    with open(beside, "x", encoding="utf-8") as stream:
        json.dump(prices, stream)
    os.replace(beside, PRICES)


def differences(prices: dict[str, int], gone: str) -> list[str]:
    """What is wrong with the answers for ``prices``, in which ``gone`` is not."""
    wrong: list[str] = []
    for name, cents in prices.items():
        status, said = ask(name)
        if status != 200 or said != {"name": name, "cents": cents}:
            wrong.append(f"the answer for {name!r} is not right (status {status})")
    if ask(gone)[0] != 404:
        wrong.append("a name that is not in the file is not answered with 404")
    return wrong


def ask(name: str) -> tuple[int | None, object]:
    """The status of the answer for a name, and its JSON; None for either where there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=SECONDS)
    status = None
    try:
        connection.request("GET", f"/prices/{quote(name, safe='')}")
        answer = connection.getresponse()
        status = answer.status
        return status, json.loads(answer.read(LIMIT))
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        return status, None
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
