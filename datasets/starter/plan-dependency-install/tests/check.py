"""Has plans made for indexes of the judge's own."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

sys.path.insert(0, "/tests")

from judging import Apart, Wrong, parse_json

PROGRAM = Path("/app/plan.py")
LIMIT = 20  # seconds, twice what is asked for, since this machine may be busy
ALL = 80  # seconds for all plans together
LONGEST = 1 << 20
DEADLINE = time.monotonic() + ALL


def digest(value: object) -> str:
    """How a plan is kept: the program could read this folder, and would find nothing in it to copy."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


NONE = digest(None)


def failure(apart: Apart, case: dict[str, object]) -> str:
    """A line that says how a case fails, or nothing."""
    what = case["what"]
    try:
        with tempfile.TemporaryDirectory() as folder:
            index, request = Path(folder) / "index.json", Path(folder) / "request.json"
            index.write_text(json.dumps({"packages": case["packages"]}))
            request.write_text(json.dumps(case["request"]))
            apart.own(folder)
            seconds = min(LIMIT, DEADLINE - time.monotonic())
            ended = apart.run(["python3", str(PROGRAM), str(index), str(request)], seconds, folder)
            if ended.code is None:
                return f"failed: {what}: no plan within the time\n"
            found = parse_json(ended.out[:LONGEST])
    except Wrong as error:
        return f"failed: {what}: {error}\n"
    except Exception as error:  # noqa: BLE001 - whatever the program does is no reason to end here
        return f"failed: {what}: {type(error).__name__}\n"
    if not isinstance(found, dict) or "plan" not in found:
        return f"failed: {what}: what is printed has no plan\n"
    if ended.code != (1 if case["plan"] == NONE else 0):
        return f"failed: {what}: the exit code is {ended.code}\n"
    if digest(found["plan"]) != case["plan"]:
        return f"failed: {what}: not the best plan, or not in order\n"
    return ""


def main() -> int:
    cases = [
        case
        for path in sorted(Path("/tests/cases").glob("*.json"))
        for case in json.loads(path.read_text(encoding="utf-8"))
    ]
    with Apart(file_bytes=16 << 20, alone=False) as apart, ThreadPoolExecutor(2) as pool:
        apart.open_up(str(PROGRAM.parent))
        found = [line for line in pool.map(partial(failure, apart), cases) if line]
    sys.stdout.writelines(found)
    return 1 if found or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
