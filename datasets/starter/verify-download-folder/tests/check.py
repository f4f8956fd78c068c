"""Judges /app/report.json and where the files are. Exit 0: all of it holds."""

import hashlib
import json
import os
import pathlib
import stat
import sys

EXPECTED = pathlib.Path(__file__).with_name("expected.json")
MAX_BYTES = 1 << 16
MAX_ENTRIES = 500


class Wrong(Exception):
    """What does not hold, for the log."""


def read_file(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise Wrong(f"{path!a}: cannot be opened ({error.strerror})") from None
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Wrong(f"{path!a}: not a regular file")
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise Wrong(f"{path!a}: too big")
    return data


def tree(top: str) -> dict[str, str]:
    """The files below a folder with their digests. Links and devices are errors."""
    if not stat.S_ISDIR(os.lstat(top).st_mode):
        raise Wrong(f"{top} is no folder")
    found: dict[str, str] = {}
    waiting = [""]
    folders = 0
    while waiting:
        prefix = waiting.pop()
        for entry in os.scandir(f"{top}/{prefix}"):
            path = prefix + entry.name
            if len(found) + folders > MAX_ENTRIES:
                raise Wrong("far too many entries")
            if entry.is_dir(follow_symlinks=False):
                folders += 1
                waiting.append(f"{path}/")
            else:
                found[path] = hashlib.sha256(read_file(f"{top}/{path}")).hexdigest()
    return found


def compare(folder: str, wanted: dict[str, str]) -> None:
    found = tree(folder)
    missing, extra = len(wanted.keys() - found.keys()), len(found.keys() - wanted.keys())
    other = sum(found[path] != wanted[path] for path in wanted.keys() & found.keys())
    if missing or extra or other:
        raise Wrong(f"{missing} files missing, {extra} too many, {other} with other contents")


def read_report(keys: set[str]) -> dict[str, object]:
    try:
        report = json.loads(read_file("/app/report.json").decode("utf-8"))
    except (ValueError, RecursionError):
        raise Wrong("no JSON in UTF-8") from None
    if not isinstance(report, dict) or report.keys() != keys:
        raise Wrong("no object with exactly the keys that were asked for")
    return report


def compare_paths(found: object, wanted: list[str]) -> None:
    if not isinstance(found, list) or not all(isinstance(path, str) for path in found):
        raise Wrong("no list of texts")
    if len(set(found)) != len(found):
        raise Wrong("a path is in it twice")
    missing, extra = len(set(wanted) - set(found)), len(set(found) - set(wanted))
    if missing or extra:
        raise Wrong(f"{missing} paths missing, {extra} too many")


def compare_number(found: object, wanted: int) -> None:
    if isinstance(found, bool) or found != wanted:
        raise Wrong("another number")


def main() -> int:
    wanted = json.loads(EXPECTED.read_text(encoding="utf-8"))
    report: dict[str, object] = {}
    failed = 0

    def judge(name: str, check) -> None:
        nonlocal failed
        try:
            check()
        except (Wrong, OSError) as error:
            failed += 1
            print(f"FAILED {name}: {error}")
        else:
            print(f"ok {name}")

    right = wanted["report"]
    judge("report", lambda: report.update(read_report(set(right))))
    judge("ok", lambda: compare_number(report.get("ok"), right["ok"]))
    for key in ("missing", "changed", "unlisted"):
        judge(key, lambda key=key: compare_paths(report.get(key), right[key]))
    for folder in ("quarantine", "downloads"):
        judge(f"files in {folder}", lambda folder=folder: compare(f"/app/{folder}", wanted[folder]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
