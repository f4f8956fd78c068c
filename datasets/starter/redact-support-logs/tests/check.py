"""Applies the agent's rules to hidden lines, in processes of their own with a time limit, and compares what comes out.

The rules are data: no code of the agent runs here, and redact.py of the agent's folder is not used.
"""

import json
import operator
import stat
import subprocess
import sys
from pathlib import Path

RULES = Path("/app/redact.rules")
HERE = Path(__file__).parent
LIMIT = 200_000
SECONDS = 6  # for a line that may take two: room for a busy machine

LONG = {
    "letters without @": "a" * 5000,
    "labels behind @": "a@" + "a." * 2490 + "7",
    "labels before @": "a.b-c_" * 833 + "@",
    "hyphens behind @": "a@b" + "-" * 4990,
    "dotted numbers": "10." * 1660 + "x",
    "colons": ":" * 5000,
    "hex groups": "ab:" * 1660,
    "digits": "4" * 5000,
    "groups of digits": "4111 " * 1000,
    "spaces": " " * 5000,
    "token": "Bearer " + "a" * 15 + "!" + "=" * 4900,
    "labels of keys": "api_key" * 700,
    "at signs": "a@" * 2500,
    "addresses": "1.1.1.1 " * 625,
}


def read_rules():
    try:
        info = RULES.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(info.st_mode) or info.st_size > LIMIT:
        return None
    return RULES.read_text(encoding="utf-8", errors="replace")


def redact(rules, lines, seconds):
    """The lines after the rules, or a word about what went wrong."""
    command = [sys.executable, "-I", str(HERE / "worker.py")]
    try:
        done = subprocess.run(command, input=json.dumps([rules, lines]).encode(), capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return "too slow"
    if done.returncode != 0:
        return "the rules cannot be loaded or applied"
    return json.loads(done.stdout)


def redact_all(rules, groups):
    """What becomes of each group of lines. One process for all where they are quick; else one for each, up to the first that fails."""
    together = redact(rules, [line for lines in groups.values() for line in lines], SECONDS)
    if not isinstance(together, str):
        rest = iter(together)
        return {name: [next(rest) for _ in lines] for name, lines in groups.items()}
    results = {}
    for name, lines in groups.items():
        results[name] = redact(rules, lines, SECONDS)
        if isinstance(results[name], str):
            break
    return results


def main() -> int:
    rules = read_rules()
    if rules is None:
        print("/app/redact.rules is missing or not a regular file of a sensible size")
        return 1
    cases = json.loads((HERE / "cases.json").read_text(encoding="utf-8"))
    groups = {aspect: [line for line, _ in pairs] for aspect, pairs in cases.items()}
    groups.update({f"long line, {name}": [line] for name, line in LONG.items()})
    expected = {aspect: [line for _, line in pairs] for aspect, pairs in cases.items()}
    expected["long line, addresses"] = ["<ipv4> " * 625]

    results = redact_all(rules, groups)
    wrong = 0
    for name, lines in results.items():
        if isinstance(lines, str):
            print(f"{name}: {lines}")
            return 1
        wanted = expected.get(name, lines)
        missed = sum(map(operator.ne, lines, wanted))
        print(f"{name}: {f'{missed} of {len(wanted)} lines wrong' if missed else 'right'}")
        wrong += missed
    return 1 if wrong else 0


sys.exit(main())
