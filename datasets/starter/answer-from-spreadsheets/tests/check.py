"""Compares /app/answers.json with the right answers, key by key. Exit 0: all of them are right."""

import json
import pathlib
import sys
from decimal import Decimal

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from judging import Wrong, parse_json, read_file

ANSWERS = "/app/answers.json"
EXPECTED = pathlib.Path(__file__).with_name("expected.json")
MAX_BYTES = 1 << 16


def read_answers() -> dict[str, object]:
    answers = parse_json(read_file(ANSWERS, MAX_BYTES, ANSWERS), ANSWERS, parse_float=Decimal)
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
