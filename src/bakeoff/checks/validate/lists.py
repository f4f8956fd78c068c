"""Sets of words, written as people read them."""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """The words in ``text``, between blanks."""
    return frozenset(text.split())
