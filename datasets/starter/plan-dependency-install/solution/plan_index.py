"""Reads an index: versions, ranges, needs."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Key = tuple[tuple[int, ...], bool, int]
OPERATORS: dict[str, Callable[[Key, Key], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Need(NamedTuple):
    name: str
    holds: Callable[[Key], bool]
    features: frozenset[str]


class Version(NamedTuple):
    text: str
    key: Key
    needs: tuple[Need, ...]
    features: Mapping[str, tuple[Need, ...]]
    conflicts: tuple[Need, ...]


def key_of(text: str) -> Key:
    """What versions are compared by."""
    numbers, dash, before = text.partition("-")
    parts = [int(part) for part in numbers.split(".")]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts), not dash, int(before or 0)


def range_of(text: str) -> Callable[[Key], bool]:
    """Whether a version is in the range."""
    alternatives = [
        [
            (OPERATORS[found[1]], key_of(found[2]))
            for found in map(re.compile(r"([=!<>]+)(.+)").fullmatch, one.split())
            if found
        ]
        for one in text.split("||")
    ]
    return lambda key: any(all(compare(key, other) for compare, other in one) for one in alternatives)


def needs_of(table: Mapping[str, Any]) -> tuple[Need, ...]:
    return tuple(
        Need(name, range_of(need.get("range", "")), frozenset(need.get("features", ()))) for name, need in table.items()
    )


def versions_of(package: Mapping[str, Any], prereleases: bool) -> list[Version]:
    """The eligible versions, highest first."""
    found = [
        Version(
            text,
            key_of(text),
            needs_of(version.get("needs", {})),
            {name: needs_of(feature.get("needs", {})) for name, feature in version.get("features", {}).items()},
            tuple(Need(name, range_of(of), frozenset()) for name, of in version.get("conflicts", {}).items()),
        )
        for text, version in package.items()
        if not version.get("withdrawn") and (prereleases or "-" not in text)
    ]
    return sorted(found, key=lambda version: version.key, reverse=True)
