"""Applies a file of rules to groups of lines.

Standard input is a JSON list [rules as text, seconds, [[line, …], …]]. Standard output has one JSON list of lines for each group, in
their order, as soon as it is done. Where loading the rules or one line takes more than `seconds` of this process's own work, the system
ends it with SIGVTALRM: unlike a clock on the wall, that is the same on a busy machine.
"""

import json
import re
import resource
import signal
import sys

MEMORY = 1 << 30
OUTPUT = 4_000_000


def load(text):
    rules = []
    for line in text.split("\n"):
        if line.strip() and not line.startswith("#"):
            _name, regex, replacement = line.split("\t")
            rules.append((re.compile(regex), replacement))
    return rules


def redact(rules, line, seconds):
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    for regex, replacement in rules:
        line = regex.sub(replacement, line)
    return line


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT, OUTPUT))
    text, seconds, groups = json.load(sys.stdin)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    rules = load(text)
    for lines in groups:
        print(json.dumps([redact(rules, line, seconds) for line in lines]), flush=True)


main()
