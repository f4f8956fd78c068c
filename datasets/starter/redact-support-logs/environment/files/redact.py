"""Redacts support logs: python3 redact.py RULES <input >output

RULES has one rule a line, `name<TAB>regex<TAB>replacement`, in the syntax of Python's re.sub; empty lines and lines that start
with # are skipped. Each line of the input goes through all rules, one after the other, from the first to the last.
"""

import re
import sys


def load(path):
    rules = []
    with open(path, encoding="utf-8") as file:
        for line in file.read().split("\n"):
            if line.strip() and not line.startswith("#"):
                _name, regex, replacement = line.split("\t")
                rules.append((re.compile(regex), replacement))
    return rules


def redact(rules, line):
    for regex, replacement in rules:
        line = regex.sub(replacement, line)
    return line


def main():
    rules = load(sys.argv[1])
    for line in sys.stdin:
        sys.stdout.write(redact(rules, line.rstrip("\n")) + "\n")


if __name__ == "__main__":
    main()
