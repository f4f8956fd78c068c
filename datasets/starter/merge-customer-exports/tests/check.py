"""Judges /app/out and the program /app/merge.py. Exit 0: all of it holds.

The program runs as a process of its own on exports that it has not seen, and only what it wrote is looked at. What is right is kept
as digests: the program could read this folder, and would find nothing in it to copy.
"""

import csv
import hashlib
import io
import json
import os
import pathlib
import sys
import tempfile

TESTS = pathlib.Path(__file__).parent
sys.path.insert(0, str(TESTS))

from judging import Apart, Wrong, read_file  # noqa: E402 - found only from here on

PROGRAM = "/app/merge.py"
MAX_BYTES = 4 << 20
SECONDS = 15


class Stuck(Wrong):
    """The program did not end: it is not started again, so that the verdict comes in time."""


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=True).encode()).hexdigest()[:24]


def describe(data: bytes) -> dict[str, object]:
    """What is compared of a CSV file: its header, its number of rows, and each column beside the first one."""
    try:
        rows = [row for row in csv.reader(io.StringIO(data.decode("utf-8"), newline="")) if row]
    except (ValueError, csv.Error) as error:
        raise Wrong(f"no CSV in UTF-8 ({error})") from None
    header, body = (rows[0], rows[1:]) if rows else ([], [])
    columns = {name: digest([[row[0], *row[place : place + 1]] for row in body]) for place, name in enumerate(header)}
    return {"header": header, "rows": len(body), "columns": columns, "all": digest(body)}


def compare(data: bytes, wanted: dict[str, object]) -> None:
    found = describe(data)
    if found["header"] != wanted["header"]:
        raise Wrong("not the header that was asked for")
    if found["rows"] != wanted["rows"]:
        raise Wrong("not as many rows as there should be")
    columns = found["columns"]
    right = wanted["columns"]
    assert isinstance(columns, dict) and isinstance(right, dict)
    bad = [name for name in right if columns[name] != right[name]]
    if bad:
        raise Wrong(f"values or order of rows differ in {', '.join(bad)}")
    if found["all"] != wanted["all"]:
        raise Wrong("rows have more fields than the header")


def run(apart: Apart, program: bytes, arguments: list[str], folder: str) -> None:
    copy = pathlib.Path(folder, "program.py")
    copy.write_bytes(program)
    apart.own(folder)
    ended = apart.run([sys.executable, str(copy), *arguments], SECONDS, folder)
    if ended.code is None:
        raise Stuck("the program does not end")
    if ended.code != 0:
        last = (ended.out + b"\n" + ended.err).decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise Wrong(f"the program ends with exit code {ended.code}: {last[:200]}")


def main() -> int:
    wanted = json.loads((TESTS / "expected.json").read_text(encoding="utf-8"))
    failed = 0
    os.umask(0o022)
    apart = Apart(file_bytes=MAX_BYTES)

    def judge(what: str, folder: str, right: dict[str, dict[str, object]]) -> None:
        nonlocal failed
        for name in ("customers.csv", "conflicts.csv"):
            try:
                compare(read_file(f"{folder}/{name}", MAX_BYTES), right[name])
            except Wrong as error:
                failed += 1
                print(f"FAILED {what}, {name}: {error}")
            else:
                print(f"ok {what}, {name}")

    judge("today's exports", "/app/out", wanted["given"])
    for name in sorted(set(wanted) - {"given"}):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "in").mkdir()
            for export in (TESTS / "sets" / name).iterdir():
                pathlib.Path(folder, "in", export.name).write_bytes(export.read_bytes())
            try:
                run(apart, read_file(PROGRAM, MAX_BYTES), [f"{folder}/in", f"{folder}/new/out"], folder)
            except Wrong as error:
                failed += 1
                print(f"FAILED other exports {name}: {error}")
                if isinstance(error, Stuck):
                    break
            else:
                judge(f"other exports {name}", f"{folder}/new/out", wanted[name])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
