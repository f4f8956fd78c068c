"""What reading any text takes."""

from __future__ import annotations

import re
from typing import Final

ANY: Final = "*"
"""What stands in a text for the parts of it that only running the program would tell."""


def words(text: str) -> frozenset[str]:
    """The words in ``text``, between blanks."""
    return frozenset(text.split())


def stands(name: str, text: str) -> bool:
    """True where ``name`` is in ``text`` as a whole, not as a part of a longer name."""
    return name in text and bool(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])(?!\.\w)", text))


def glob_matches(pattern: str, name: str) -> bool:
    """True where ``name`` is ``pattern`` with something for each ``*``. Linear, unlike a regular expression."""
    first, *rest = pattern.split(ANY)
    if not rest:
        return pattern == name
    if not name.startswith(first):
        return False
    at = len(first)
    for part in rest[:-1]:
        at = name.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return name.endswith(rest[-1]) and len(name) - len(rest[-1]) >= at
