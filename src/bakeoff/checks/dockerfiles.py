"""What a Dockerfile copies into an image from its build context."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import cast

from msgspec import Struct

_COPY = re.compile(r"\s*(COPY|ADD)\s+(.*)", re.IGNORECASE | re.DOTALL)


class Copy(Struct, frozen=True):
    """One COPY or ADD, with the line that it begins in."""

    line: int
    sources: tuple[str, ...]
    target: str


def copies(text: str) -> Iterator[Copy]:
    """Every COPY and ADD whose sources come from the context, or from an address; what cannot be read is passed over."""
    for line, instruction in _instructions(text):
        match = _COPY.fullmatch(instruction)
        parts = _parts(match[2]) if match else []
        if len(parts) > 1:
            yield Copy(line, tuple(parts[:-1]), parts[-1])


def _instructions(text: str) -> Iterator[tuple[int, str]]:
    """The instructions with the line that each begins in; continued lines are joined."""
    held: list[str] = []
    first = 1
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#"):
            continue
        if not held:
            first = number
        if line.rstrip().endswith("\\"):
            held.append(line.rstrip()[:-1])
            continue
        yield first, " ".join([*held, line])
        held = []


def _parts(arguments: str) -> list[str]:
    """Sources and target of a COPY, empty where they come from another stage or are written in place."""
    rest = arguments.strip()
    while match := re.match(r"--(\w+)(=\S*)?\s+", rest):
        if match[1] == "from":
            return []
        rest = rest[match.end() :]
    if rest.startswith("["):
        try:
            found = json.loads(rest)
        except (ValueError, RecursionError):
            return []
        listed = cast("list[object]", found) if isinstance(found, list) else []
        return [item for item in listed if isinstance(item, str)]
    return rest.split()
