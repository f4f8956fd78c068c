"""What the README says a site is, made anew from the sources: nothing of /app is used. A tree is {path: text}."""

from __future__ import annotations

import csv
import html
import io
import re

INCLUDE = re.compile(r"@include ([a-z0-9_-]+)\s*")
Tree = dict[str, str]


def pages_of(tree: Tree) -> dict[str, str]:
    """Titles by name, in the order of the list."""
    lines = [line.strip() for line in tree["pages.list"].splitlines()]
    pairs = [line.partition(" ") for line in lines if line and not line.startswith("#")]
    return {name: title.strip() for name, _, title in pairs}


def lines_of(tree: Tree, path: str) -> list[str]:
    lines: list[str] = []
    for line in tree[path].splitlines():
        found = INCLUDE.fullmatch(line)
        if found and f"data/{found[1]}.csv" in tree:
            rows = csv.reader(io.StringIO(tree[f"data/{found[1]}.csv"]))
            lines += [" | ".join(cell.strip() for cell in row).strip() for row in rows]
        elif found:
            lines += lines_of(tree, f"parts/{found[1]}.txt")
        elif line.strip():
            lines.append(line.strip())
    return lines


def site_of(tree: Tree) -> dict[str, bytes]:
    """The files of build/site."""
    pages = pages_of(tree)
    links = "".join(f'<a href="{name}.html">{html.escape(title)}</a>\n' for name, title in pages.items())
    site: dict[str, bytes] = {}
    for name in pages:
        text = f'<!doctype html>\n<link rel="stylesheet" href="style.css">\n<nav>\n{links}</nav>\n'
        for line in lines_of(tree, f"pages/{name}.txt"):
            shown = re.sub(r"\[\[([a-z0-9_-]+)\]\]", r'<a href="\1.html">\1</a>', html.escape(line))
            text += f"<p>{shown}</p>\n"
        text += f"<footer>Edition {html.escape(tree['VERSION'].strip())}</footer>\n"
        site[f"{name}.html"] = text.encode()
    sheets = sorted(path for path in tree if path.startswith("style/"))
    site["style.css"] = "".join(tree[path] for path in sheets).encode()
    return site
