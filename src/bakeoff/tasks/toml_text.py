"""Changing single values in a TOML text, with every comment left where it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

_HEADER = re.compile(r"\s*\[")


def string(value: str) -> str:
    """A TOML string that means exactly ``value``, on one line. JSON's escapes are among TOML's; only DEL needs one of its own."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def array(values: Iterable[str]) -> str:
    """A TOML array of strings, on one line."""
    return f"[{', '.join(map(string, values))}]"


def number(value: float) -> str:
    """A TOML number; a whole one without a point. ``value`` is finite."""
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)


def put(text: str, table: str, key: str, literal: str) -> str:
    """``text`` with ``key = literal`` in ``[table]``: in the place of the line it had, or else behind the table's last key.

    Keys of the table stand on lines of their own, values on one line. Raises KeyError where there is no such table.
    """
    lines = text.split("\n")
    first, end = _table(lines, table)
    last = first
    for at in range(first + 1, end):
        if _is(lines[at], key):
            lines[at] = f"{key} = {literal}"
            break
        if lines[at].strip() and not lines[at].startswith("#"):
            last = at
    else:
        lines.insert(last + 1, f"{key} = {literal}")
    return "\n".join(lines)


def drop(text: str, table: str, key: str) -> str:
    """``text`` without ``key`` of ``[table]``, and without the comment right above it."""
    lines = text.split("\n")
    first, end = _table(lines, table)
    at = next((at for at in range(first + 1, end) if _is(lines[at], key)), None)
    if at is None:
        return text
    above = at
    while lines[above - 1].startswith("#"):
        above -= 1
    del lines[above : at + 1]
    return "\n".join(lines)


def _is(line: str, key: str) -> bool:
    return line.partition("=")[0].strip() == key


def _table(lines: list[str], table: str) -> tuple[int, int]:
    """The line of a table's header, and the one behind its last line."""
    for first, line in enumerate(lines):
        if line.strip() == f"[{table}]":
            rest = range(first + 1, len(lines))
            return first, next((at for at in rest if _HEADER.match(lines[at])), len(lines))
    raise KeyError(table)
