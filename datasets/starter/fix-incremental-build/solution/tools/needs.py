"""Print what the named pages include, directly or not, as words ``page=file``. A part that is nowhere is named all the same."""

import os
import sys

SIGN = "@include "
OF_NAMES = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


def needs(path, seen):
    try:
        with open(path, encoding="utf-8") as file:
            parts = [line[len(SIGN) :].rstrip() for line in file if line.startswith(SIGN)]
    except FileNotFoundError:
        return
    for part in parts:
        if not part or not OF_NAMES.issuperset(part):
            continue
        made = os.path.exists(f"data/{part}.csv") and not os.path.exists(f"parts/{part}.txt")
        file = f"build/parts/{part}.txt" if made else f"parts/{part}.txt"
        if file not in seen:
            seen.add(file)
            needs(file, seen)


for name in sys.argv[1:]:
    found = set()
    needs(f"pages/{name}.txt", found)
    for file in sorted(found):
        print(f"{name}={file}")
