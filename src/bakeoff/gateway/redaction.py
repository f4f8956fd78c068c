"""Spans of bytes that are replaced: the rules for them, and one pass over bytes whole or in pieces, with the same result."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

RUN = 16
"""Nearly all secrets hold so many letters, digits, ``_`` or ``-`` in a row; most text does not, and is passed over quickly."""

_CONTEXT = 64
_WORD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_CLASSES = bytes(35 if code in _WORD else 32 for code in range(256))
_NEEDLE = b"#" * RUN


class Rule(Struct, frozen=True, kw_only=True):
    """Matches of ``pattern`` (of its group ``group``) are secrets of this kind, where ``valid`` says so too.

    One of ``hints`` stands in every match; ``in_runs``: inside a row of at least RUN word characters. A match, with what the pattern looks
    at behind it, is at most ``reach`` bytes long; it looks at no more than 64 bytes before it.
    """

    kind: str
    pattern: re.Pattern[bytes]
    hints: tuple[bytes, ...]
    reach: int
    in_runs: bool = True
    group: int = 0
    valid: Callable[[bytes], bool] | None = None

    def search(self, data: bytes, start: int) -> tuple[int, int] | None:
        """The first match that begins at ``start`` or later."""
        while (match := self.pattern.search(data, start)) is not None:
            if self.valid is None or self.valid(match[self.group]):
                return match.span(self.group)
            start = match.start() + 1
        return None


class Rules:
    """Several rules as one. Where matches overlap the one that begins first holds, and of those the longest."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._in_runs = tuple(rule for rule in rules if rule.in_runs)
        self._anywhere = tuple((hint, rule) for rule in rules if not rule.in_runs for hint in rule.hints)
        hints = [re.escape(hint) for rule in self._in_runs for hint in rule.hints]
        self._run_hint = re.compile(b"|".join(hints))
        self.reach = max((rule.reach for rule in rules), default=0)

    def hinted(self, data: bytes, rows: bytes | None = None) -> list[Rule]:
        """The rules that can match anything in ``data`` at all; ``rows`` are its ``runs``, where they are known."""
        rows = runs(data) if rows is None else rows
        found: list[Rule] = []
        if rows and self._in_runs and self._run_hint.search(rows):
            found = [rule for rule in self._in_runs if any(hint in rows for hint in rule.hints)]
        for hint, rule in self._anywhere:
            if hint in data and rule not in found[-1:]:
                found.append(rule)
        return found

    def spans(self, data: bytes, start: int, stop: int) -> Iterator[tuple[int, int, str]]:
        """Begin, end and kind of what is to be replaced, in order, for matches that begin in ``start`` … ``stop``."""
        waiting: list[tuple[int, int, Rule]] = []
        for rule in self.hinted(data):
            _push(waiting, rule, data, start, stop)
        while waiting:
            waiting.sort(key=_first)
            begin, end, rule = waiting.pop(0)
            if begin >= start:
                yield begin, end, rule.kind
                start = end
            _push(waiting, rule, data, start, stop)

    def whole(self, data: bytes) -> tuple[bytes, dict[str, int]]:
        """``data`` with every match replaced by its mark, and how many there were of each kind."""
        counts: dict[str, int] = {}
        out: list[bytes] = []
        done = 0
        for begin, end, kind in self.spans(data, 0, len(data)):
            out += (data[done:begin], mark(kind))
            counts[kind] = counts.get(kind, 0) + 1
            done = end
        if not out:
            return data, counts
        out.append(data[done:])
        return b"".join(out), counts


def _first(item: tuple[int, int, Rule]) -> tuple[int, int]:
    return (item[0], -item[1])


def _push(waiting: list[tuple[int, int, Rule]], rule: Rule, data: bytes, start: int, stop: int) -> None:
    found = rule.search(data, start)
    if found is not None and found[0] < stop:
        waiting.append((*found, rule))


def mark(kind: str) -> bytes:
    """What stands in place of a secret."""
    return b"[redacted:%s]" % kind.encode()


def runs(data: bytes) -> bytes:
    """Every row of at least RUN word characters, one a line."""
    marks = data.translate(_CLASSES)
    out: list[bytes] = []
    start = marks.find(_NEEDLE)
    while start >= 0:
        end = marks.find(b" ", start)
        if end < 0:
            end = len(data)
        out.append(data[start:end])
        start = marks.find(_NEEDLE, end)
    return b"\n".join(out)


class Pass:
    """One pass of rules over bytes that come in pieces, of any size: the result is that of ``Rules.whole`` over all of them.

    What cannot be decided yet, at most the rules' reach, is held back until ``end``.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._held = b""
        self._seen = 0  # how much of what is held has been passed on, and is kept as context
        self._in = 0
        self._out = 0
        self._ends = array("Q")  # where replaced spans end: in what came, and in what was given
        self._begins = array("Q")
        self._given = array("Q")
        self.counts: dict[str, int] = {}

    def feed(self, data: bytes) -> bytes:
        """What is decided now that ``data`` has come."""
        held = self._held + data if self._held else data
        return self._decide(held, len(held) - self._rules.reach)

    def end(self) -> bytes:
        """The rest."""
        return self._decide(self._held, len(self._held))

    def at(self, offset: int) -> int:
        """Where a place in what came is in what was given; inside of what was replaced, that is its end."""
        number = bisect_left(self._begins, offset)
        if not number:
            return offset
        return self._given[number - 1] + max(0, offset - self._ends[number - 1])

    def _decide(self, held: bytes, stop: int) -> bytes:
        if stop <= self._seen:
            self._held = held
            return b""
        out: list[bytes] = []
        done = self._seen
        base = self._in - self._seen
        for begin, end, kind in self._rules.spans(held, self._seen, stop):
            out += (held[done:begin], mark(kind))
            self._out += begin - done + len(out[-1])
            self.counts[kind] = self.counts.get(kind, 0) + 1
            self._begins.append(base + begin)
            self._ends.append(base + end)
            self._given.append(self._out)
            done = end
        cut = max(done, stop)
        out.append(held[done:cut])
        self._out += cut - done
        self._in = base + cut
        keep = min(cut, _CONTEXT)
        self._held, self._seen = held[cut - keep :], keep
        return b"".join(out)
