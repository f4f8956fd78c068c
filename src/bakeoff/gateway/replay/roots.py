"""Paths and words of a trial that stand in requests and differ from trial to trial, replaced where they stand alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

Roots = Mapping[str, tuple[str, ...]]
"""By name: what each trial (the recorded one and this one) has in its place."""

OPEN, CLOSE = "\ue000", "\ue001"
"""What a replaced piece of text stands between: private characters, which no one writes by accident."""

_BEFORE_PATH = r"(?:(?<![\w.\-])|(?<=\\[nrt]))"
_AFTER_PATH = r"(?![\w\-]|\.\w)"


def token(name: str) -> str:
    """What stands for a replaced piece of text."""
    return f"{OPEN}{name}{CLOSE}"


def joined(*parts: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The roots of several trials by name; both sides of a comparison are read with all of them, so that equal texts stay equal."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: tuple(dict.fromkeys(part[name] for part in parts if part.get(name))) for name in names}


def replacer(roots: Roots) -> Callable[[str], str]:
    """A function that puts each root's name in its place.

    A value that begins with ``/`` is a path: it is found where a path begins and a part of it ends (so ``/app`` is neither in
    ``/application`` nor in ``/usr/app``), also behind an escaped line break, and as a slug with dashes, as a part of a path
    (``/projects/-tmp-work/``). Any other value is a word. The root folder itself and empty values are no roots.
    """
    found: dict[str, str] = {}
    for name, values in roots.items():
        for value in values:
            text = value.rstrip("/") if value.startswith("/") else value
            if text:
                found.setdefault(text, name)
    if not found:
        return lambda text: text
    tokens = {text: token(name) for text, name in found.items()}
    slugs = {slug(text): token(f"{name} slug") for text, name in found.items() if text.startswith("/")}
    pattern = re.compile("|".join([*_paths(found), *_slugs(slugs), *_words(found)]))
    tokens = slugs | tokens

    def replace(text: str) -> str:
        return pattern.sub(lambda match: tokens[match[0]], text)

    return replace


def slug(path: str) -> str:
    """A path as a name: what is not a letter or digit becomes a dash."""
    return re.sub(r"[^A-Za-z0-9]", "-", path)


def _paths(found: Iterable[str]) -> list[str]:
    paths = [text for text in found if text.startswith("/")]
    return [f"{_BEFORE_PATH}(?:{_any(paths)}){_AFTER_PATH}"] if paths else []


def _slugs(slugs: Iterable[str]) -> list[str]:
    known = list(slugs)
    return [f"(?<=/)(?:{_any(known)})(?![A-Za-z0-9_])"] if known else []


def _words(found: Iterable[str]) -> list[str]:
    words = [text for text in found if not text.startswith("/")]
    return [rf"(?<!\w)(?:{_any(words)})(?!\w)"] if words else []


def _any(texts: list[str]) -> str:
    """The longest comes first, so that a folder below another root is named by its own root."""
    return "|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True))
