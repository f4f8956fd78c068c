"""Print a page: ``render.py NAME EDITION``. Reads pages/, parts/, build/parts/ (the tables) and build/nav.html."""

import html
import os
import re
import sys


def lines_of(path):
    """The lines of a text, with what it includes in place."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            found = re.fullmatch(r"@include ([a-z0-9_-]+)\s*", line)
            if found:
                part = f"parts/{found[1]}.txt"
                yield from lines_of(part if os.path.exists(part) else f"build/{part}")
            elif line.strip():
                yield line.strip()


name, edition = sys.argv[1:3]
print("<!doctype html>")
print('<link rel="stylesheet" href="style.css">')
with open("build/nav.html", encoding="utf-8") as file:
    print(f"<nav>\n{file.read()}</nav>")
for line in lines_of(f"pages/{name}.txt"):
    text = re.sub(r"\[\[([a-z0-9_-]+)\]\]", r'<a href="\1.html">\1</a>', html.escape(line))
    print(f"<p>{text}</p>", flush=True)
print(f"<footer>Edition {html.escape(edition)}</footer>")
