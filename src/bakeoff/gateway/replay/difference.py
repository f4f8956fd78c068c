"""Where two requests differ, in few lines that a person reads."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Any, cast

LINES = 60
"""The most lines of a difference."""

WIDTH = 160
"""The most characters of a line; what is cut is told by dots."""

_COMPARED = 400
_PLACES = 6
_MISSING = object()


def describe(recorded: Any, asked: Any, messages: str = "") -> str:
    """Where ``asked`` differs from ``recorded``: the place, and a short unified difference of the text there.

    Both are requests as they are compared (see ``Reader.readable``). ``messages`` is the field of the conversation: only the first message
    that differs is shown, since those after it follow from it. At most ``LINES`` lines; empty where the two are equal.
    """
    out: list[str] = []
    places = list(_places(recorded, asked, "", messages))
    for shown, (place, was, now) in enumerate(places):
        if shown == _PLACES:
            out.append(f"… and {len(places) - shown} more places")
            break
        out += [f"{_visible(place) or 'the body'}:", *_texts(was, now)]
    if len(out) > LINES:
        out = [*out[: LINES - 1], f"… {len(out) - LINES + 1} more lines"]
    return "\n".join(out)


def _places(was: Any, now: Any, place: str, messages: str) -> Iterator[tuple[str, Any, Any]]:
    """Each place where two values differ, and what stands there in both."""
    if isinstance(was, dict) and isinstance(now, dict):
        left, right = cast("dict[str, Any]", was), cast("dict[str, Any]", now)
        for name in sorted(left.keys() | right.keys(), key=lambda name: (name == messages, name)):
            below = f"{place}.{name}" if place else name
            yield from _places(left.get(name, _MISSING), right.get(name, _MISSING), below, messages)
    elif isinstance(was, list) and isinstance(now, list):
        yield from _items(cast("list[Any]", was), cast("list[Any]", now), place, messages)
    elif was != now or type(cast("object", was)) is not type(cast("object", now)):
        yield place, was, now


def _items(was: list[Any], now: list[Any], place: str, messages: str) -> Iterator[tuple[str, Any, Any]]:
    for index in range(max(len(was), len(now))):
        left = was[index] if index < len(was) else _MISSING
        right = now[index] if index < len(now) else _MISSING
        found = list(
            _places(left, right, f"{place}[{index}]{_role(left, right) if place == messages else ''}", messages)
        )
        yield from found
        if found and place == messages:
            return


def _role(was: Any, now: Any) -> str:
    """Whose message it is, where both say the same."""
    tables = [cast("dict[str, Any]", one) for one in (was, now) if isinstance(one, dict)]
    roles = {str(table.get("role") or "") for table in tables}
    return f" ({role})" if len(roles) == 1 and (role := roles.pop()) else ""


def _texts(was: object, now: object) -> list[str]:
    """The difference of two values, the recorded one marked by ``-``."""
    left, right = _lines(was), _lines(now)
    start = _common(left, right)
    end = _common(left[start:][::-1], right[start:][::-1])
    before = max(start - 1, 0)
    left = left[before : len(left) - end + (1 if end else 0)]
    right = right[before : len(right) - end + (1 if end else 0)]
    cut = max(len(left), len(right)) > _COMPARED
    changes = difflib.unified_diff(left[:_COMPARED], right[:_COMPARED], lineterm="", n=1)
    lines = [line for line in changes if not line.startswith(("---", "+++", "@@"))]
    return [f"  {line}" for line in _narrow(lines)] + (["  …"] if cut else [])


def _lines(value: object) -> list[str]:
    if value is _MISSING:
        return []
    if isinstance(value, str):
        return value.split("\n")
    return json.dumps(value, indent=2, ensure_ascii=False).split("\n")


def _common(left: list[str], right: list[str]) -> int:
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count


def _narrow(lines: list[str]) -> list[str]:
    """Lines cut to ``WIDTH``. A changed line is cut around where it begins to differ from the one in whose place it stands."""
    partners = _partners(lines)
    out: list[str] = []
    for index, line in enumerate(lines):
        if len(line) > WIDTH:
            differs = _common(list(line[1:]), list(lines[partners[index]][1:])) if index in partners else 0
            begin = max(1, differs + 1 - WIDTH // 3)
            cut = line[begin : begin + WIDTH]
            line = f"{line[0]}{'…' if begin > 1 else ''}{cut}{'…' if begin + WIDTH < len(line) else ''}"
        out.append(_visible(line))
    return out


def _partners(lines: list[str]) -> dict[int, int]:
    """The removed and the added lines of each change, by twos in their order."""
    partners: dict[int, int] = {}
    removed: list[int] = []
    for index, line in enumerate(lines):
        if line.startswith("-"):
            removed.append(index)
        elif line.startswith("+") and removed:
            other = removed.pop(0)
            partners |= {index: other, other: index}
        elif not line.startswith("+"):
            removed = []
    return partners


def _visible(text: str) -> str:
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    """A character that a terminal would obey rather than show."""
    return char.encode("unicode_escape", "surrogatepass").decode()
