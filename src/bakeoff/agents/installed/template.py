"""Text with places to fill in: ``{name}``, or ``{name:json}`` for the value as a JSON string (which TOML and YAML take too)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

_PLACE = re.compile(r"\{([a-z_]+)(:json)?\}")


def places(text: str) -> list[str]:
    """The names in ``text``, in order. Braces around anything but lower-case letters and underscores are text."""
    return [match.group(1) for match in _PLACE.finditer(text)]


def fill(text: str, values: Mapping[str, str]) -> str:
    """``text`` with every place filled in. What is filled in is not looked at again. Raises KeyError for an unknown name."""

    def value(match: re.Match[str]) -> str:
        found = values[match.group(1)]
        return quoted(found) if match.group(2) else found

    return _PLACE.sub(value, text)


def quoted(value: object) -> str:
    """A string, or a list of them, as JSON has it, and TOML and YAML with it."""
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")  # which TOML takes in no other way
