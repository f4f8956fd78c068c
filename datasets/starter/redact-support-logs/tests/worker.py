"""Applies a file of rules to lines: standard input is a JSON list [rules as text, [lines]], standard output a JSON list of lines."""

import json
import re
import resource
import sys

MEMORY = 1 << 30


def load(text):
    rules = []
    for line in text.split("\n"):
        if line.strip() and not line.startswith("#"):
            _name, regex, replacement = line.split("\t")
            rules.append((re.compile(regex), replacement))
    return rules


def redact(rules, line):
    for regex, replacement in rules:
        line = regex.sub(replacement, line)
    return line


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    text, lines = json.load(sys.stdin)
    rules = load(text)
    json.dump([redact(rules, line) for line in lines], sys.stdout)


main()
