"""Judges /app/slow.csv: its header, its endpoints, their numbers, and the order of the rows. Exit 0: all of it holds."""

import csv
import io
import json
import pathlib
import sys
from decimal import Decimal, InvalidOperation

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from judging import Wrong, read_file

TABLE = "/app/slow.csv"
EXPECTED = pathlib.Path(__file__).with_name("expected.json")
MAX_BYTES = 1 << 16


def read_table(header: list[str]) -> list[list[str]]:
    try:
        text = read_file(TABLE, MAX_BYTES, TABLE).decode("utf-8")
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except (ValueError, csv.Error):
        raise Wrong("no CSV in UTF-8") from None
    if not rows or rows[0] != header:
        raise Wrong("not the header that was asked for")
    if any(len(row) != len(header) for row in rows):
        raise Wrong("a row has more or fewer fields than the header")
    return rows[1:]


def same_number(found: str, wanted: str) -> bool:
    try:
        return Decimal(found) == Decimal(wanted)
    except InvalidOperation:
        return False


def compare(rows: list[list[str]], wanted: list[list[str]], header: list[str]) -> list[str]:
    """What is wrong with the rows."""
    found, right = {row[0]: row for row in rows}, {row[0]: row for row in wanted}
    problems: list[str] = []
    if len(found) != len(rows):
        problems.append("an endpoint has several rows")
    missing, extra = len(right.keys() - found.keys()), len(found.keys() - right.keys())
    if missing or extra:
        problems.append(f"{missing} endpoints missing, {extra} too many")
    both = right.keys() & found.keys()
    for place, column in enumerate(header[1:], 1):
        bad = sum(not same_number(found[name][place], right[name][place]) for name in both)
        if bad:
            problems.append(f"{column} is wrong in {bad} of {len(both)} rows")
    if [row[0] for row in rows if row[0] in both] != [row[0] for row in wanted if row[0] in both]:
        problems.append("the rows are not in the order that was asked for")
    return problems


def main() -> int:
    header, *wanted = json.loads(EXPECTED.read_text(encoding="utf-8"))
    try:
        problems = compare(read_table(header), wanted, header)
    except Wrong as error:
        problems = [str(error)]
    for problem in problems:
        print(f"FAILED {problem}")
    if not problems:
        print(f"ok {len(wanted)} rows")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
