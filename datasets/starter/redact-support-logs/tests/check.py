"""Applies the agent's rules to hidden lines, in a process of its own with a time limit, and compares what comes out.

The rules are data: no code of the agent runs here, and redact.py of the agent's folder is not used.
"""

import json
import operator
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

RULES = Path("/app/redact.rules")
HERE = Path(__file__).parent
LIMIT = 200_000
SECONDS = 1.1  # of work for a line, which may take one
IN_ALL = 90

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


def redact(rules, groups):
    """What becomes of each group of lines, up to the first that fails, which has a word about what went wrong in place of lines."""
    command = [sys.executable, "-I", str(HERE / "worker.py")]
    order = json.dumps([rules, SECONDS, list(groups.values())]).encode()
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(command, input=order, stdout=output, stderr=subprocess.DEVNULL, timeout=IN_ALL)
            status = done.returncode
        except subprocess.TimeoutExpired:
            status = -signal.SIGVTALRM
        output.seek(0)
        ended = [json.loads(line) for line in output if line.endswith(b"\n")]
    names = list(groups)
    results = {names[number]: lines for number, lines in enumerate(ended)}
    if status != 0 or len(results) < len(groups):
        failed = names[len(ended) : len(ended) + 1]
        word = "too slow" if status == -signal.SIGVTALRM else "the rules cannot be loaded or applied"
        results.update(dict.fromkeys(failed or ["end"], word))
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

    results = redact(rules, groups)
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
