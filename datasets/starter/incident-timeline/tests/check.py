"""Compares /app/incident.json with the facts of that night, key by key, and says which keys are wrong."""

import json
import stat
import sys
from pathlib import Path

REPORT = Path("/app/incident.json")
EXPECTED = Path(__file__).with_name("expected.json")
LIMIT = 1_000_000


def read_report():
    """The agent's report, or a line that says why there is none."""
    try:
        info = REPORT.lstat()
    except OSError:
        return None, "/app/incident.json is missing"
    if not stat.S_ISREG(info.st_mode) or info.st_size > LIMIT:
        return None, "/app/incident.json is not a regular file of a sensible size"
    try:
        report = json.loads(REPORT.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None, "/app/incident.json is not JSON in UTF-8"
    if not isinstance(report, dict):
        return None, "/app/incident.json is not an object"
    return report, ""


def same(expected, got) -> bool:
    """Equal in value, and true or false is no number."""
    if isinstance(expected, dict):
        return (
            isinstance(got, dict) and got.keys() == expected.keys() and all(same(expected[k], got[k]) for k in expected)
        )
    return expected == got and not isinstance(got, bool)


def main() -> int:
    expected = json.loads(EXPECTED.read_text(encoding="utf-8"))
    report, problem = read_report()
    if report is None:
        print(problem)
        return 1
    wrong = 0
    if report.keys() != expected.keys():
        print("keys: not exactly those asked for")
        wrong += 1
    for key in expected:
        good = key in report and same(expected[key], report[key])
        print(f"{key}: {'right' if good else 'wrong'}")
        wrong += not good
    return 1 if wrong else 0


sys.exit(main())
