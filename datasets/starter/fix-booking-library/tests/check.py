"""Run the hidden cases apart from here, a process for each group, and compare what they print with the expected values."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import tempfile
import time

sys.path.insert(0, "/tests")

from judging import Apart, Wrong, parse_json

DEADLINE = 45.0  # seconds for all groups together; they take about one
LIMIT = 1_000_000  # bytes; an answer has about 5,000


def answer_of(apart: Apart, driver: str, group: str, folder: str, seconds: float) -> object:
    """What the package says to a group of cases, or None."""
    command = [sys.executable, "-I", "-B", "-S", driver, group, folder]
    # Another clock than the machine's: nothing may depend on it.
    ended = apart.run(command, seconds, folder, TZ="XYZ-9:30")
    sys.stderr.write(ended.err[-2000:].decode("utf-8", "replace"))
    if ended.code is None:
        print(f"{group}: out of time")
        return None
    try:
        return parse_json(ended.out) if len(ended.out) <= LIMIT else None
    except Wrong:
        return None


def copy_package(folder: str) -> None:
    """The plain files of the package, without links. What is too much for a package is left out."""
    room = 2_000_000  # bytes
    for place, _, names in os.walk("/app/booking"):
        target = os.path.join(folder, os.path.relpath(place, "/app"))
        os.makedirs(target, exist_ok=True)
        for name in sorted(names):
            path = os.path.join(place, name)
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and status.st_size <= room:
                room -= status.st_size
                shutil.copyfile(path, os.path.join(target, name), follow_symlinks=False)


def main() -> int:
    with open("/tests/expected.json", encoding="utf-8") as file:
        expected = json.load(file)
    end = time.monotonic() + DEADLINE
    wrong = 0
    os.umask(0o022)
    with tempfile.TemporaryDirectory() as place:
        place = os.path.realpath(place)
        os.chmod(place, 0o755)
        folder, driver = os.path.join(place, "app"), os.path.join(place, "driver.py")
        os.mkdir(folder)
        shutil.copyfile("/tests/zones.json", os.path.join(folder, "zones.json"))
        shutil.copyfile("/tests/driver.py", driver)
        copy_package(folder)
        apart = Apart(file_bytes=16 << 20, processes=0)
        for group, cases in expected.items():
            answer = answer_of(apart, driver, group, folder, end - time.monotonic())
            if not isinstance(answer, dict):
                print(f"{group}: no answer")
                wrong += len(cases)
                continue
            for name, want in cases.items():
                if name not in answer or answer[name] != want:
                    print(f"{group}: wrong: {name}")
                    wrong += 1
    print(f"{wrong} cases wrong" if wrong else "all right")
    return 1 if wrong else 0


try:
    sys.exit(main())
except (OSError, Wrong) as error:
    print(f"cannot judge: {error}")
    sys.exit(1)
