"""``skips.py RECORD RECORD``: every test that was skipped in one run passed in the other, or this says which, and exits with 1.

A record is what a run of the tests writes to the file that BAKEOFF_TEST_RECORD names: a line a test, how it ended and its id.
"""

from __future__ import annotations

import sys
from pathlib import Path


def read(record: Path) -> dict[str, str]:
    """How each test ended, by its id."""
    lines = (line.split(" ", 1) for line in record.read_text().splitlines())
    return {name: outcome for outcome, name in lines}


def ran_nowhere(*runs: dict[str, str]) -> list[str]:
    """Tests that were skipped in a run, and passed in none."""
    skipped = {name for run in runs for name, outcome in run.items() if outcome == "skipped"}
    return sorted(name for name in skipped if all(run.get(name) != "passed" for run in runs))


def main() -> int:
    hidden = ran_nowhere(*(read(Path(name)) for name in sys.argv[1:]))
    for name in hidden:
        print(f"skipped in every run: {name}", file=sys.stderr)
    return 1 if hidden else 0


if __name__ == "__main__":
    sys.exit(main())
