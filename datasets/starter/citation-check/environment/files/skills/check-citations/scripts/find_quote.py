"""Find a quotation in a folder of plain-text sources.

Pages are separated by form feeds; what stands before the first one is the title page. On each page the first line is
a running head, the last line that is not blank is the page's number, and footnotes stand below a line of dashes.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import unicodedata
from pathlib import Path


def letters(text: str) -> str:
    """Letters and digits alone, ligatures resolved, in lower case."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum())


def page_words(path: Path) -> list[tuple[str, str]]:
    """The words of the running text, each with the number of its page. Divided words are joined."""
    words: list[tuple[str, str]] = []
    for page in path.read_text(encoding="utf-8", errors="replace").split("\f")[1:]:
        lines = page.strip("\n").split("\n")
        number, body = lines[-1].strip(), lines[1:-1]
        notes = [i for i, line in enumerate(body) if re.fullmatch(r"-{3,}", line.strip())]
        text = "\n".join(body[: notes[0]] if notes else body)
        words += [(word, number) for word in re.sub(r"(?<=\w)-\n\s*(?=\w)", "", text).split()]
    return words


def span(pages: list[str]) -> str:
    return pages[0] if pages[0] == pages[-1] else f"{pages[0]}-{pages[-1]}"


def exact(words: list[tuple[str, str]], quotation: str) -> list[str]:
    """The pages of every place where the passage stands word for word."""
    text = "".join(letters(word) for word, _ in words)
    page_of = [page for word, page in words for _ in letters(word)]
    pattern = ".*?".join(re.escape(letters(part)) for part in re.split(r"\[(?:\.\.\.|…)\]", quotation))
    return [span(page_of[found.start() : found.end()]) for found in re.finditer(pattern, text)]


def similar(words: list[tuple[str, str]], quotation: str) -> tuple[float, str, str]:
    """The most similar run of words: its likeness, its pages and its text."""
    wanted = [letters(word) for word in quotation.split() if letters(word)]
    have = [letters(word) for word, _ in words]
    best = (0.0, 0, 1)
    for start in range(len(have)):
        if have[start] not in wanted[:3]:
            continue
        for end in range(start + len(wanted) // 2, min(len(have), start + 2 * len(wanted)) + 1):
            if have[end - 1] in wanted[-3:]:
                ratio = difflib.SequenceMatcher(None, wanted, have[start:end], autojunk=False).ratio()
                best = max(best, (ratio, start, end), key=lambda one: one[0])
    ratio, start, end = best
    chosen = words[start:end]
    return ratio, span([page for _, page in chosen]), " ".join(word for word, _ in chosen)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, epilog="Exit code 1: no exact place."
    )
    parser.add_argument("sources", type=Path, help="folder of .txt files")
    parser.add_argument("quotation")
    arguments = parser.parse_args()
    works = {path.name: page_words(path) for path in sorted(arguments.sources.glob("*.txt"))}
    places = [(name, page) for name, words in works.items() for page in exact(words, arguments.quotation)]
    for name, page in places:
        print(f"exact  {name}  p. {page}")
    if places:
        return 0
    near = [(*similar(words, arguments.quotation), name) for name, words in works.items() if words]
    for ratio, page, text, name in sorted(near, reverse=True)[:3]:
        print(f"{ratio:.2f}   {name}  p. {page}  {text}")
    return 1


sys.exit(main())
