"""Run the program on hidden folders, each in a process of its own, and compare what it prints as data."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time

sys.path.insert(0, "/tests")

from judging import Apart, Ended, Wrong, parse_json, read_file

PROGRAM = "/app/port.py"
LIMIT = 1_000_000  # bytes, of the program and of what it prints
DEADLINE = time.monotonic() + 45  # seconds for everything; it takes about one


def same(got: object, want: object) -> bool:
    """Equal as data: 1 is 1.0, but True is not 1."""
    if isinstance(want, dict):
        return isinstance(got, dict) and got.keys() == want.keys() and all(same(got[key], want[key]) for key in want)
    if isinstance(want, list):
        return isinstance(got, list) and len(got) == len(want) and all(map(same, got, want))
    if isinstance(want, bool) or isinstance(got, bool) or want is None:
        return got is want
    if isinstance(want, str):
        return isinstance(got, str) and got == want
    return isinstance(got, (int, float)) and got == want


def problem(case: dict, ended: Ended) -> str:
    """What is wrong with the outcome of a case, or nothing."""
    code, printed, said = ended
    if code is None or max(len(printed), len(said)) > LIMIT:
        return "out of time, or too much output"
    if "error" in case:
        if code != 1:
            return "the exit code is not 1"
        if printed.strip():
            return "something is on standard output in spite of the error"
        named = any(name.encode() in said for name in case["error"])
        return "" if named else "standard error does not name the file"
    if code != 0:
        return "the exit code is not 0"
    try:
        return "" if same(parse_json(printed), case["want"]) else "other data"
    except Wrong:
        return "no JSON"


def main() -> int:
    with open("/tests/cases.json", encoding="utf-8") as file:
        cases = json.load(file)
    source = read_file(PROGRAM, LIMIT, "port.py")
    with open("/tests/runner.py", "rb") as file:
        runner_source = file.read()
    apart = Apart(file_bytes=16 << 20, processes=0)
    wrong = 0
    with tempfile.TemporaryDirectory() as place:
        place = os.path.realpath(place)
        os.chmod(place, 0o755)
        runner = lay(os.path.join(place, "runner.py"), runner_source)
        for number, case in enumerate(cases):
            own = os.path.join(place, str(number))
            folder = os.path.join(own, "etc")
            os.makedirs(folder)
            program = lay(os.path.join(own, "port.py"), source)
            for name, text in case["files"].items():
                lay(os.path.join(folder, name), text.encode("utf-8"))
            command = [sys.executable, "-I", "-B", "-S", runner, program, folder]
            found = problem(case, apart.run(command, min(10, DEADLINE - time.monotonic()), folder))
            shutil.rmtree(own)
            if found:
                print(f"{case['name']}: {found}")
                wrong += 1
    print(f"{wrong} cases wrong" if wrong else "all right")
    return 1 if wrong else 0


def lay(path: str, data: bytes) -> str:
    """A file for all to read."""
    with open(path, "xb") as file:
        file.write(data)
    os.chmod(path, 0o644)
    return path


try:
    sys.exit(main())
except (OSError, Wrong) as error:
    print(f"cannot judge: {error}")
    sys.exit(1)
