"""A JSON value without what is declared volatile. Pure: nothing is remembered from one call to the next."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

from bakeoff.gateway.replay.roots import token
from bakeoff.gateway.replay.rules import Rule

NUMBERED = token("#")
"""What stands for an id; the ids themselves are told beside the value, in the order in which they stand in it."""


def normalise(value: Any, rule: Rule | None, replace: Callable[[str], str], ids: list[str]) -> Any:
    """``value`` with sorted keys, without the fields that are dropped, and with a token for every root, id and volatile text.

    ``rule`` is what holds at the value's place, ``replace`` puts the names of roots in their places, and ``ids`` is appended to:
    it gets every id in the order of the result. Equal arguments give equal results.
    """
    if isinstance(value, str):
        return _text(value, rule, replace, ids)
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        fields = rule.fields if rule else {}
        return {
            name: normalise(table[name], fields.get(name), replace, ids)
            for name in sorted(table)
            if not (name in fields and fields[name].drop)
        }
    if isinstance(value, list):
        items = cast("list[Any]", value)
        if rule and rule.order:
            items = _in_order(items, rule.order)
        below = rule.items if rule else None
        return [normalise(item, below, replace, ids) for item in items]
    return value


def _text(text: str, rule: Rule | None, replace: Callable[[str], str], ids: list[str]) -> str:
    if rule is None:
        return replace(text)
    if rule.number:
        ids.append(text)
        return NUMBERED
    for pattern in rule.patterns:
        text = pattern.sub(left_out, text) if not _has_ids(pattern) else pattern.sub(_numbering(ids), text)
    return replace(text)


def _has_ids(pattern: re.Pattern[str]) -> bool:
    return any(name.startswith("id") for name in pattern.groupindex)


def _numbering(ids: list[str]) -> Callable[[re.Match[str]], str]:
    def without(match: re.Match[str]) -> str:
        return left_out(match, ids)

    return without


def left_out(match: re.Match[str], ids: list[str] | None = None) -> str:
    """What was matched, with a token in the place of each named group that took part."""
    spans = sorted((match.span(name), name) for name in match.re.groupindex if match.start(name) >= 0)
    out: list[str] = []
    done = match.start()
    for (start, end), name in spans:
        if start < done:
            continue
        out.append(match.string[done:start])
        if ids is not None and name.startswith("id"):
            ids.append(match.string[start:end])
            out.append(NUMBERED)
        else:
            out.append(token(name))
        done = end
    out.append(match.string[done : match.end()])
    return "".join(out)


def _in_order(items: list[Any], by: str) -> list[Any]:
    """Each run of neighbours that have the field ``by``, sorted by it."""
    out: list[Any] = []
    run: list[dict[str, Any]] = []
    for item in items:
        if isinstance(item, dict) and isinstance(cast("dict[str, Any]", item).get(by), str):
            run.append(cast("dict[str, Any]", item))
            continue
        out += sorted(run, key=lambda one: one[by])
        run = []
        out.append(item)
    return out + sorted(run, key=lambda one: one[by])
