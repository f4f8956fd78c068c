"""Judges the names and contents of everything in /app/photos, and /app/left.txt. Exit 0: all of it holds."""

import hashlib
import json
import os
import pathlib
import stat
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from judging import Wrong, read_file

EXPECTED = pathlib.Path(__file__).with_name("expected.json")
PHOTOS = "/app/photos"
LEFT = "/app/left.txt"
MAX_BYTES = 1 << 16
MAX_ENTRIES = 500


def read_plain(path: str) -> bytes:
    return read_file(path, MAX_BYTES, ascii(path))


def tree(top: str) -> dict[str, str]:
    """The files below a folder with their digests. A folder stands for itself, with a slash behind it."""
    if not stat.S_ISDIR(os.lstat(top).st_mode):
        raise Wrong(f"{top} is no folder")
    found: dict[str, str] = {}
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        for entry in os.scandir(f"{top}/{prefix}"):
            path = prefix + entry.name
            if len(found) > MAX_ENTRIES:
                raise Wrong("far too many entries")
            if entry.is_dir(follow_symlinks=False):
                found[f"{path}/"] = "folder"
                waiting.append(f"{path}/")
            else:
                found[path] = hashlib.sha256(read_plain(f"{top}/{path}")).hexdigest()
    return found


def compare(found: dict[str, str], wanted: dict[str, str]) -> None:
    missing = len(wanted.keys() - found.keys())
    other = sum(found[name] != wanted[name] for name in wanted.keys() & found.keys())
    if missing or other:
        raise Wrong(f"of {len(wanted)} names, {missing} are missing, {other} have the contents of another file")


def main() -> int:
    wanted = json.loads(EXPECTED.read_text(encoding="utf-8"))
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

    found: dict[str, str] = {}

    def extra() -> None:
        known = {path for group in ("photos", "sidecars", "stays") for path in wanted[group]}
        if found.keys() - known:
            raise Wrong(f"{len(found.keys() - known)} names that nothing should have")

    def left() -> None:
        lines = read_plain(LEFT).decode("utf-8", "replace").split("\n")
        if [line for line in lines if line] != wanted["left"]:
            raise Wrong("not the names, or not the order, that was asked for")

    judge("folder", lambda: found.update(tree(PHOTOS)))
    judge("photos", lambda: compare(found, wanted["photos"]))
    judge("sidecars", lambda: compare(found, wanted["sidecars"]))
    judge("what stays", lambda: compare(found, wanted["stays"]))
    judge("nothing else", extra)
    judge("left.txt", left)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
