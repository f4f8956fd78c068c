"""Print what the named pages include, directly or not, as words ``page=file``. A part that is nowhere is named all the same."""

import os
import re
import sys


def needs(path, seen):
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return
    for part in re.findall(r"^@include ([a-z0-9_-]+)\s*$", text, re.M):
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
