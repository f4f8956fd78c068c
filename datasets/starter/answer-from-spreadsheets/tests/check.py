"""Compares /app/answers.json with the right answers, key by key. Exit 0: all of them are right."""

import json
import os
import pathlib
import stat
import sys
from decimal import Decimal

ANSWERS = "/app/answers.json"
EXPECTED = pathlib.Path(__file__).with_name("expected.json")
MAX_BYTES = 1 << 16


class Wrong(Exception):
    """Why there are no answers to compare."""


def read_file(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise Wrong(f"{path}: cannot be opened ({error.strerror})") from None
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Wrong(f"{path}: not a regular file")
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise Wrong(f"{path}: too big")
    return data


def read_answers() -> dict[str, object]:
    try:
        answers = json.loads(read_file(ANSWERS).decode("utf-8"), parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        raise Wrong(f"{ANSWERS}: no JSON in UTF-8") from None
    if not isinstance(answers, dict):
        raise Wrong(f"{ANSWERS}: no object")
    return answers


def same(found: object, wanted: object) -> bool:
    """Equal in value and kind: true is no number, and neither is a number in quotes."""
    return found == wanted and not isinstance(found, bool)


def main() -> int:
    wanted = json.loads(EXPECTED.read_text(encoding="utf-8"), parse_float=Decimal)
    try:
        answers = read_answers()
    except Wrong as error:
        print(f"FAILED {error}")
        return 1
    failed = 0
    if answers.keys() != wanted.keys():
        failed += 1
        print("FAILED not exactly the keys that were asked for")
    for key in wanted:
        good = key in answers and same(answers[key], wanted[key])
        failed += not good
        print(f"{'ok' if good else 'FAILED'} {key}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
