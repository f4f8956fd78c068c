"""Compares /app/lines.csv and /app/summary.json with the truth, aspect by aspect."""

import csv
import io
import json
import re
import stat
import sys
from decimal import Decimal
from pathlib import Path

HERE = Path(__file__).parent
LIMIT = 1_000_000
NUMBERS = {"line", "quantity", "unit_price", "amount"}
NUMBER = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,12})?")


def read(path):
    """The text of a file of the agent, or None."""
    try:
        info = path.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(info.st_mode) or info.st_size > LIMIT:
        return None
    return path.read_text(encoding="utf-8-sig", errors="replace")


def rows(text):
    return list(csv.reader(io.StringIO(text, newline="")))


def same_cell(column, wanted, got):
    if column not in NUMBERS:
        return got == wanted
    if not NUMBER.fullmatch(got) or (column == "amount" and not re.search(r"\.[0-9]{2}$", got)):
        return False
    return Decimal(got) == Decimal(wanted)


def check_lines(text):
    """Yields (aspect, whether it is right)."""
    header, *wanted = rows((HERE / "lines.csv").read_text(encoding="utf-8"))
    try:
        got = [row for row in rows(text) if row]
    except csv.Error:
        yield "lines.csv: is CSV", False
        return
    yield "lines.csv: header", got[:1] == [header]
    got = got[1:]
    yield "lines.csv: number of rows", len(got) == len(wanted)
    full = all(len(row) == len(header) for row in got)
    yield "lines.csv: ten columns in each row", full
    if not full or len(got) != len(wanted):
        return
    yield "lines.csv: order of rows", [row[:2] + row[4:5] for row in got] == [row[:2] + row[4:5] for row in wanted]
    for number, column in enumerate(header):
        yield (
            f"lines.csv: {column}",
            all(same_cell(column, want[number], got[row][number]) for row, want in enumerate(wanted)),
        )


def check_summary(text):
    wanted = json.loads((HERE / "summary.json").read_text(encoding="utf-8"))
    try:
        got = json.loads(text)
    except (ValueError, RecursionError):
        got = None
    if not isinstance(got, dict):
        yield "summary.json: is a JSON object", False
        return
    yield "summary.json: keys", got.keys() == wanted.keys()
    for key, value in wanted.items():
        yield f"summary.json: {key}", got.get(key) == value


def main() -> int:
    results = []
    for name, check in (("lines.csv", check_lines), ("summary.json", check_summary)):
        text = read(Path("/app") / name)
        results.append((f"{name}: there, a regular file", text is not None))
        if text is not None:
            results += check(text)
    for aspect, right in results:
        print(f"{aspect}: {'right' if right else 'wrong'}")
    return 0 if all(right for _, right in results) else 1


sys.exit(main())
