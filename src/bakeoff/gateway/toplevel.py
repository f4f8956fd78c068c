"""Where the top-level members of a JSON object stand in its bytes: found as they come, in constant memory, with nothing decoded."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from enum import Enum, auto
from typing import cast

from msgspec import Struct

LONGEST_KEY = 256
"""Keys that are longer are no key that anybody looks for."""

_SPACE = re.compile(rb"[ \t\r\n]*+")
_SCALAR = re.compile(rb"[^,}\] \t\r\n]*+")
_STRING = re.compile(rb'[^"\\]*+')
# No possessive group: Python before 3.11.4 gets those wrong. Nothing follows the outer one, so there is nothing to try again.
_FLAT = re.compile(rb'(?:[^"{}\[\]]+|"[^"\\]*(?:\\.[^"\\]*)*")*', re.DOTALL)
_BOM = b"\xef\xbb\xbf"


class Member(Struct, frozen=True):
    """A member whose key was looked for. ``start`` and ``end`` are offsets of its value; ``value`` is that, if it is not too long."""

    key: str
    start: int
    end: int
    value: bytes | None


class _At(Enum):
    START = auto()
    MEMBER = auto()
    KEY = auto()
    COLON = auto()
    VALUE = auto()
    STRING = auto()
    SCALAR = auto()
    NESTED = auto()
    NESTED_STRING = auto()
    END = auto()
    NOT_AN_OBJECT = auto()


class TopLevel:
    """Feed it the bytes of a document; ``members`` has what was found of ``keys`` so far, in order, repeats included.

    Values of up to ``keep`` bytes are kept. It takes any bytes: what is no JSON object has no members, and what breaks
    off has those that were whole. ``opened`` is the offset after the opening brace, None before one; ``empty``: nothing follows it.
    """

    def __init__(self, keys: Collection[str], keep: int = 64 << 10) -> None:
        self.members: list[Member] = []
        self.opened: int | None = None
        self.empty = True
        self._keys = frozenset(keys)
        self._keep = keep
        self._at = _At.START
        self._offset = 0
        self._escaped = False
        self._depth = 0
        self._key = bytearray()
        self._name: str | None = None
        self._begun = 0
        self._value: bytearray | None = None
        self._mark = 0

    @property
    def ended(self) -> bool:
        """The object is whole, or there is none: more bytes change nothing."""
        return self._at in (_At.END, _At.NOT_AN_OBJECT)

    def feed(self, data: bytes) -> None:
        position = 0
        while position < len(data) and not self.ended:
            position = self._step(data, position)
        self._offset += len(data)

    def _step(self, data: bytes, position: int) -> int:
        """Read on from ``position``; where to go on."""
        at = self._at
        if at is _At.KEY:
            return self._key_on(data, position)
        if at is _At.STRING or at is _At.NESTED_STRING:
            end, closed = self._string(data, position)
            self._take(data, position, end)
            if closed and at is _At.NESTED_STRING:
                self._at = _At.NESTED
            elif closed:
                self._done(end)
            return end
        if at is _At.NESTED:
            return self._nested(data, position)
        if at is _At.SCALAR:
            end = _end(_SCALAR, data, position)
            self._take(data, position, end)
            if end < len(data):
                self._done(end)
            return end
        position = _end(_SPACE, data, position)
        return position if position == len(data) else self._sign(data, position)

    def _sign(self, data: bytes, position: int) -> int:
        """The next character that is no space, between keys and values."""
        sign = data[position]
        if self._at is _At.START:
            return self._open(sign, position)
        if self._at is _At.MEMBER:
            if sign == 0x22:
                self._key.clear()
                self.empty = False
                self._at = _At.KEY
            elif sign != 0x2C:
                self._at = _At.END
        elif self._at is _At.COLON:
            self._at = _At.VALUE if sign == 0x3A else _At.END
        else:
            return self._value_begins(sign, position, data)
        return position + 1

    def _open(self, sign: int, position: int) -> int:
        at = self._offset + position
        if sign == 0x7B and self._mark in (0, len(_BOM)):
            self._at = _At.MEMBER
            self.opened = at + 1
        elif at == self._mark < len(_BOM) and sign == _BOM[at]:
            self._mark += 1
        else:
            self._at = _At.NOT_AN_OBJECT
        return position + 1

    def _value_begins(self, sign: int, position: int, data: bytes) -> int:
        self._begun = self._offset + position
        self._value = bytearray() if self._name is not None else None
        if sign == 0x22:
            self._at = _At.STRING
        elif sign in b"{[":
            self._at = _At.NESTED
            self._depth = 1
        else:
            self._at = _At.SCALAR
            return position
        self._take(data, position, position + 1)
        return position + 1

    def _key_on(self, data: bytes, position: int) -> int:
        end, closed = self._string(data, position)
        if len(self._key) <= LONGEST_KEY:
            self._key += data[position:end]
        if closed:
            self._name = self._named()
            self._at = _At.COLON
        return end

    def _named(self) -> str | None:
        """The key that has just ended, if it is looked for."""
        raw = bytes(self._key[:-1])
        if len(self._key) > LONGEST_KEY:
            return None
        try:
            name = cast("str", json.loads(b'"' + raw + b'"')) if b"\\" in raw else raw.decode()
        except ValueError:
            return None
        return name if name in self._keys else None

    def _string(self, data: bytes, position: int) -> tuple[int, bool]:
        """Read on in a string; the end of what belongs to it, and whether it is closed."""
        while position < len(data):
            if self._escaped:
                self._escaped = False
                position += 1
                continue
            position = _end(_STRING, data, position)
            if position == len(data):
                break
            position += 1
            if data[position - 1] == 0x22:
                return position, True
            self._escaped = True
        return position, False

    def _nested(self, data: bytes, position: int) -> int:
        end = _end(_FLAT, data, position)
        if end < len(data):
            sign = data[end]
            end += 1
            if sign == 0x22:
                self._at = _At.NESTED_STRING
            else:
                self._depth += 1 if sign in b"{[" else -1
        self._take(data, position, end)
        if not self._depth:
            self._done(end)
        return end

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._value is not None and len(self._value) <= self._keep:
            self._value += data[start:end]

    def _done(self, end: int) -> None:
        if self._name is not None:
            kept = self._value is not None and len(self._value) <= self._keep
            value = bytes(self._value) if kept and self._value is not None else None
            self.members.append(Member(self._name, self._begun, self._offset + end, value))
        self._name = self._value = None
        self._at = _At.MEMBER


def _end(pattern: re.Pattern[bytes], data: bytes, position: int) -> int:
    found = pattern.match(data, position)
    return found.end() if found else position
