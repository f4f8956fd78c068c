"""Plan every new name, then rename in two steps, so that no file is written over."""

import pathlib
import re
from datetime import datetime

PHOTOS = pathlib.Path("/app/photos")
LEFT = pathlib.Path("/app/left.txt")
TAKEN = re.compile(r"(\d{4})([-:])(\d\d)\2(\d\d) (\d\d):(\d\d):(\d\d)", re.ASCII)


def new_stem(sidecar):
    if not sidecar.is_file():
        return None
    values = {}
    for line in sidecar.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        values.setdefault(key.strip().lower(), value.strip())
    match = TAKEN.fullmatch(values.get("taken", ""))
    if match is None:
        return None
    try:
        taken = datetime(*(int(match[group]) for group in (1, 3, 4, 5, 6, 7)))
    except ValueError:
        return None
    place = re.sub("[^a-z0-9]+", "-", values.get("place", "").lower()).strip("-")
    return taken.strftime("%Y-%m-%d_%H-%M-%S") + (f"_{place}" if place else "")


def main():
    photos = [entry.name for entry in PHOTOS.iterdir() if entry.is_file() and re.search(r"\.jpe?g$", entry.name, re.I)]
    photos.sort(key=str.encode)
    stems = {name: new_stem(PHOTOS / f"{name}.txt") for name in photos}
    left = [name for name in photos if stems[name] is None]
    taken = set(left)
    plan = []
    for name in photos:
        stem = stems[name]
        if stem is None:
            continue
        new, number = f"{stem}.jpg", 1
        while new in taken:
            number += 1
            new = f"{stem}_{number}.jpg"
        taken.add(new)
        plan.append((name, new))
    moves = [(old + end, new + end) for old, new in plan for end in ("", ".txt") if old != new]
    for old, new in moves:
        (PHOTOS / old).rename(PHOTOS / f".moving {new}")
    for _, new in moves:
        (PHOTOS / f".moving {new}").rename(PHOTOS / new)
    LEFT.write_text("".join(f"{name}\n" for name in left), encoding="utf-8")


main()
