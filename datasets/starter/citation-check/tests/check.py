"""Compare the report with what is planted in the draft. Says which aspects are wrong, not how they should be."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
import unicodedata

REPORT = "/app/report.json"
LIMIT = 1_000_000  # bytes; a report has about 5,000


def read_report() -> object:
    """The report as JSON. Raises OSError or ValueError where there is no plain file with JSON in it."""
    handle = os.open(REPORT, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("report.json is not a plain file")
        data = file.read(LIMIT + 1)
    if len(data) > LIMIT:
        raise ValueError("report.json is too large")
    return json.loads(data.decode("utf-8-sig"))


def letters(value: object) -> str:
    """Letters and digits alone: what the instruction says counts."""
    return "".join(c for c in unicodedata.normalize("NFKC", str(value)).casefold() if c.isalnum())


def pages(value: object) -> str:
    """``pp. 5-6`` and ``5--6`` are ``5-6``; ``5-5`` is ``5``."""
    found = re.findall(r"\d+", str(value))
    return "-".join(found if len(found) != 2 or found[0] != found[1] else found[:1])


def same(field: str, got: object, want: object) -> bool:
    if isinstance(want, dict):
        if not isinstance(got, dict):
            return False
        got = {name: value for name, value in got.items() if value is not None}
        return set(got) == set(want) and all(same(name, got[name], want[name]) for name in want)
    if isinstance(got, (dict, list)) or got is None or isinstance(got, bool):
        return False
    if field in ("page", "pages"):
        return pages(got) == pages(want)
    if field in ("text", "journal"):
        return letters(got) == letters(want)
    if field == "source":
        return str(got).rpartition("/")[2] == want
    return str(got).strip() == want


def entry_problem(got: object, want: dict[str, object]) -> str:
    """What is wrong with one entry, or nothing."""
    if not isinstance(got, dict):
        return "missing, or not an object"
    got = {name: value for name, value in got.items() if value is not None}
    if got.get("status") != want["status"]:
        return "wrong status"
    if set(got) != set(want):
        return "not the fields that this status asks for"
    wrong = [name for name in want if not same(name, got[name], want[name])]
    return "wrong " + ", ".join(wrong) if wrong else ""


def problems(report: object, expected: dict) -> list[str]:
    if not isinstance(report, dict) or set(report) != {"references", "quotations"}:
        return ["the report is not an object of references and quotations"]
    found: list[str] = []
    references, quotations = report["references"], report["quotations"]
    if not isinstance(references, dict) or set(references) != set(expected["references"]):
        found.append("references: not an entry for each key, and for these alone")
    if isinstance(references, dict):
        for key, want in expected["references"].items():
            problem = entry_problem(references.get(key), want)
            if problem:
                found.append(f"reference {key}: {problem}")
    wanted = expected["quotations"]
    if not isinstance(quotations, list) or len(quotations) != len(wanted):
        return [*found, "quotations: not a list with one entry for each quotation"]
    for index, want in enumerate(wanted):
        problem = entry_problem(quotations[index], want)
        if problem:
            found.append(f"quotation {index + 1}: {problem}")
    return found


def main() -> int:
    with open("/tests/expected.json", encoding="utf-8") as file:
        expected = json.load(file)
    try:
        report = read_report()
        found = problems(report, expected)
    except (OSError, ValueError, RecursionError) as error:
        print(f"no report: {error}")
        return 1
    for line in found:
        print(line)
    print("all right" if not found else f"{len(found)} wrong")
    return 1 if found else 0


sys.exit(main())
