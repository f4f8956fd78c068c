"""Exchange single values in a JSON body; every other byte stays."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping

from msgspec import Struct

from bakeoff.gateway.body import SpooledBody, body
from bakeoff.gateway.toplevel import Member, TopLevel
from bakeoff.gateway.traffic import Body


class Found(Struct, frozen=True):
    """What was found in a body. ``opened`` is None where it is no JSON object."""

    members: tuple[Member, ...]
    opened: int | None
    empty: bool

    def last(self, key: str) -> bytes | None:
        """The value that counts where a key is repeated, as readers of JSON have it; None where it is missing, or very long."""
        values = [member.value for member in self.members if member.key == key]
        return values[-1] if values else None


def find(pieces: Iterable[bytes], keys: Collection[str], keep: int = 64 << 10) -> Found:
    """The members of the top level with one of ``keys``, with values of up to ``keep`` bytes."""
    top = TopLevel(keys, keep)
    for piece in pieces:
        top.feed(piece)
        if top.ended:
            break
    return Found(tuple(top.members), top.opened, top.empty)


class Spliced:
    """A body with some spans replaced. ``cuts`` are (start, end, what comes there) in order, and do not overlap."""

    def __init__(self, of: Body, cuts: Iterable[tuple[int, int, bytes]]) -> None:
        self._of = of
        self._cuts = tuple(cuts)
        self.size = of.size + sum(len(text) - (end - start) for start, end, text in self._cuts)

    def pieces(self) -> Iterator[bytes]:
        offset = 0
        cuts = iter(self._cuts)
        cut = next(cuts, None)
        for piece in self._of.pieces():
            end, position = offset + len(piece), 0
            # A cut's text comes where it begins; its span may reach into later pieces.
            while cut is not None and cut[0] < end:
                start, stop, text = cut
                if start >= offset:
                    if kept := piece[position : start - offset]:
                        yield kept
                    if text:
                        yield text
                position = min(stop, end) - offset
                if stop > end:
                    break
                cut = next(cuts, None)
            if kept := piece[position:]:
                yield kept
            offset = end
        while cut is not None:
            if cut[0] >= offset and cut[2]:
                yield cut[2]
            cut = next(cuts, None)


def splice(of: Body, found: Found, values: Mapping[str, bytes], *, insert: bool) -> Spliced:
    """Put ``values`` (JSON) in the place of the members of these keys; with ``insert`` those that are missing come first in the object.

    ``found`` is of the same body, and was made with these keys at least. A body that is no object stays as it is.
    """
    cuts = [(member.start, member.end, values[member.key]) for member in found.members if member.key in values]
    missing = [key for key in values if not any(member.key == key for member in found.members)] if insert else []
    if missing and found.opened is not None:
        text = b",".join(json.dumps(key).encode() + b":" + values[key] for key in missing)
        cuts.insert(0, (found.opened, found.opened, text + (b"" if found.empty else b",")))
    return Spliced(of, cuts)


def splice_bytes(data: bytes, values: Mapping[str, bytes], *, insert: bool = False) -> bytes:
    """``splice`` for bytes at hand."""
    of: SpooledBody = body(data)
    return b"".join(splice(of, find((data,), values), values, insert=insert).pieces())
