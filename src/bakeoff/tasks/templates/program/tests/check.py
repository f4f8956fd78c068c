"""Judge /app/total.py by what it prints, and write the verdict: the number in reward.txt, of which 1 passes.

The program is run, never imported: what it does in its own process cannot change what is compared in this one. It runs beside
the judge all the same, so before it starts the answers are gone from the disk; it may write no files, so it cannot leave
a verdict of its own; and nothing that it started is alive when the verdict is written.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

PROGRAM = "/app/total.py"
CASES = Path("/tests/cases.json")
VERDICT = Path("/logs/verifier/reward.txt")
SECONDS = 5  # for each case
LIMIT = 1 << 16  # bytes that are read of what the program prints
CLEAN = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 4, 36


def main() -> None:
    reward = 0
    try:
        reward = judge()
    finally:  # whatever goes wrong on the way is no pass
        for left in VERDICT.parent.glob("reward.*"):
            left.unlink()
        VERDICT.write_text(f"{reward}\n")


def judge() -> int:
    """1 where every case holds. What fails is said, what would be right is not: people read this in the record of the trial."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)  # nobody reads this process's memory
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # what the program leaves behind becomes a child of this process
    cases: list[dict[str, Any]] = json.loads(CASES.read_text(encoding="utf-8"))
    CASES.unlink()
    reward = 1
    for case in cases:
        try:
            if not holds(case["input"], case["output"]):
                print(f"does not hold: {case['name']}")
                reward = 0
        except TimeoutError:
            print(f"does not end in time: {case['name']}")
            return 0
    return reward


def holds(given: str, wanted: str | None) -> bool:
    """Whether the program makes ``wanted`` of ``given``; None stands for an error."""
    code, said = run(given)
    if wanted is None:
        return code == 1 and not said
    # One newline at the end more or less makes no difference.
    return code == 0 and said.rstrip("\n") == wanted


def run(given: str) -> tuple[int, str]:
    """The program's exit code and what it printed. Raises TimeoutError where its time was up."""
    deadline = time.monotonic() + SECONDS
    with tempfile.TemporaryFile() as stdin:
        stdin.write(given.encode())
        stdin.seek(0)
        program = subprocess.Popen(
            ["python3", PROGRAM],
            cwd="/",
            env=CLEAN,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        )
    try:
        said = printed(program, deadline)
        return program.wait(max(0, deadline - time.monotonic())), said
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    finally:
        end_all()


def printed(program: subprocess.Popen[bytes], deadline: float) -> str:
    """What the program prints until it closes its standard output, or has printed too much."""
    said = b""
    assert program.stdout is not None
    with program.stdout as out:
        while len(said) < LIMIT:
            if not select.select([out], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError
            piece = os.read(out.fileno(), LIMIT)
            if not piece:
                break
            said += piece
    return said.decode(errors="replace")


def end_all() -> None:
    """Kill what the program started, until none of it is left. Orphans come to this process, so none gets away."""
    while True:
        for child in children():
            os.kill(child, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def children() -> list[int]:
    """The living children of this process."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue  # it ended a moment ago
        if int(parent) == os.getpid() and state not in "ZX":
            found.append(int(stat.parent.name))
    return found


if __name__ == "__main__":
    main()
