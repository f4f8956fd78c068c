"""Judges /app/report.json and where the files are. Exit 0: all of it holds."""

import hashlib
import json
import os
import pathlib
import stat
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from judging import Wrong, parse_json, read_file

EXPECTED = pathlib.Path(__file__).with_name("expected.json")
MAX_BYTES = 1 << 16
MAX_ENTRIES = 500


def read_plain(path: str) -> bytes:
    return read_file(path, MAX_BYTES, ascii(path))


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
                found[path] = hashlib.sha256(read_plain(f"{top}/{path}")).hexdigest()
    return found


def compare(folder: str, wanted: dict[str, str]) -> None:
    found = tree(folder)
    missing, extra = len(wanted.keys() - found.keys()), len(found.keys() - wanted.keys())
    other = sum(found[path] != wanted[path] for path in wanted.keys() & found.keys())
    if missing or extra or other:
        raise Wrong(f"{missing} files missing, {extra} too many, {other} with other contents")


def read_report(keys: set[str]) -> dict[str, object]:
    report = parse_json(read_plain("/app/report.json"))
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
