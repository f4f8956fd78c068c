"""Judges /app/restored, /app/report.csv and /app/missing.txt. Exit 0: all of it holds. Nothing of the agent's is run."""

import csv
import hashlib
import io
import json
import os
import pathlib
import stat
import sys
from collections import Counter

TESTS = pathlib.Path(__file__).parent
APP = "/app"
MAX_BYTES = 1 << 20
MAX_ENTRIES = 2000


class Wrong(Exception):
    """What does not hold, for the log."""


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


def tree(top: str) -> tuple[dict[str, str], set[str]]:
    """The files below a folder with their digests, and its folders. Links and devices are errors."""
    if not stat.S_ISDIR(os.lstat(top).st_mode):
        raise Wrong(f"{top}: not a folder")
    files: dict[str, str] = {}
    folders: set[str] = set()
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        for entry in os.scandir(f"{top}/{prefix}"):
            path = prefix + entry.name
            if len(files) + len(folders) > MAX_ENTRIES:
                raise Wrong("restored: far too many entries")
            if entry.is_dir(follow_symlinks=False):
                folders.add(path)
                waiting.append(f"{path}/")
            else:
                files[path] = hashlib.sha256(read_file(f"{top}/{path}")).hexdigest()
    return files, folders


def check_untouched(wanted: dict[str, str]) -> None:
    for name, digest in wanted.items():
        if hashlib.sha256(read_file(f"{APP}/{name}")).hexdigest() != digest:
            raise Wrong(f"{name} was changed")
    for name in ("escape.txt", "climb.txt", "week-3", "etc"):
        if os.path.lexists(f"{APP}/{name}"):
            raise Wrong(f"{APP}/{name}: an entry was written outside of the folder")


def check_restored(wanted: dict[str, str]) -> None:
    files, folders = tree(f"{APP}/restored")
    missing = set(wanted) - set(files)
    extra = set(files) - set(wanted)
    other = [path for path in wanted if path in files and files[path] != wanted[path]]
    if missing or extra or other:
        raise Wrong(f"restored: {len(missing)} files missing, {len(extra)} too many, {len(other)} with other contents")
    needed = {str(parent) for path in wanted for parent in pathlib.PurePosixPath(path).parents} - {"."}
    if folders - needed:
        raise Wrong(f"restored: {len(folders - needed)} folders that no file needs")


def check_report(wanted: list[list[str]]) -> None:
    try:
        text = read_file(f"{APP}/report.csv").decode("utf-8")
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except (ValueError, csv.Error) as error:
        raise Wrong(f"report.csv: no CSV in UTF-8 ({error})") from None
    if not rows or rows[0] != ["archive", "entry", "status"]:
        raise Wrong("report.csv: not the header that was asked for")
    found, right = Counter(map(tuple, rows[1:])), Counter(map(tuple, wanted))
    if found != right:
        named, all_named = Counter(row[:2] for row in found.elements()), Counter(row[:2] for row in right.elements())
        raise Wrong(
            f"report.csv: {sum((all_named - named).values())} entries missing, {sum((named - all_named).values())} too many, "
            f"{sum((right - found).values())} of {len(wanted)} rows missing or with another status"
        )


def check_missing(wanted: list[str]) -> None:
    lines = read_file(f"{APP}/missing.txt").decode("utf-8", "replace").split("\n")
    if [line for line in lines if line] != wanted:
        raise Wrong("missing.txt: not the paths, or not the order, that was asked for")


def main() -> int:
    wanted = json.loads((TESTS / "expected.json").read_text(encoding="utf-8"))
    failed = 0
    for name, check in (
        ("untouched", check_untouched),
        ("restored", check_restored),
        ("report", check_report),
        ("missing", check_missing),
    ):
        try:
            check(wanted[name])
        except (Wrong, OSError) as error:
            failed += 1
            print(f"FAILED {name}: {error}")
        else:
            print(f"ok {name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
