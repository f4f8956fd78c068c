"""Has plans made for indexes of the judge's own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, "/tests")
sys.dont_write_bytecode = True

import apart  # noqa: E402 - found only from here on

PROGRAM = Path("/app/plan.py")
LIMIT = 20  # seconds, twice what is asked for, since this machine may be busy
ALL = 80  # seconds for all plans together
LONGEST = 1 << 20
DEADLINE = time.monotonic() + ALL


def digest(value: object) -> str:
    """How a plan is kept: the program could read this folder, and would find nothing in it to copy."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


NONE = digest(None)


def plan(index: Path, request: Path, folder: str) -> tuple[int, object]:
    """Exit code and JSON of the program."""
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": folder, "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            ["python3", str(PROGRAM), str(index), str(request)],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **apart.USER,
        )
        try:
            code = process.wait(max(0.0, min(LIMIT, DEADLINE - time.monotonic())))
        finally:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        out.seek(0)
        return code, json.loads(out.read(LONGEST))


def failure(case: dict[str, object]) -> str:
    """A line that says how a case fails, or nothing."""
    what = case["what"]
    try:
        with tempfile.TemporaryDirectory() as folder:
            index, request = Path(folder) / "index.json", Path(folder) / "request.json"
            index.write_text(json.dumps({"packages": case["packages"]}))
            request.write_text(json.dumps(case["request"]))
            apart.own(Path(folder))
            code, found = plan(index, request, folder)
    except subprocess.TimeoutExpired:
        return f"failed: {what}: no plan within the time\n"
    except Exception as error:  # noqa: BLE001 - whatever the program does is no reason to end here
        return f"failed: {what}: {type(error).__name__}\n"
    if not isinstance(found, dict) or "plan" not in found:
        return f"failed: {what}: what is printed has no plan\n"
    if code != (1 if case["plan"] == NONE else 0):
        return f"failed: {what}: the exit code is {code}\n"
    if digest(found["plan"]) != case["plan"]:
        return f"failed: {what}: not the best plan, or not in order\n"
    return ""


def main() -> int:
    apart.open_up(PROGRAM.parent)
    cases = [
        case
        for path in sorted(Path("/tests/cases").glob("*.json"))
        for case in json.loads(path.read_text(encoding="utf-8"))
    ]
    with ThreadPoolExecutor(2) as pool:
        found = [line for line in pool.map(failure, cases) if line]
    sys.stdout.writelines(found)
    return 1 if found or not cases else 0


if __name__ == "__main__":
    verdict = main()
    sys.exit(verdict if apart.end_all() else 1)
