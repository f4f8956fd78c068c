"""Packs of git objects that no repository stands around: bundles, and packs in archives. Bounded, whatever the bytes are."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator

MAX_OBJECT = 4 << 20
"""Bytes of one object that are kept; of longer ones nothing is."""

_HELD = 64 << 20
"""Bytes of objects that are held at once, for others to be made of."""

_MOST = 256 << 20
"""Bytes that are unpacked of one pack at most."""

_KINDS = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
_OFFSET, _REFERENCE = 6, 7
_BUNDLE = b"# v"
_PIECE = 4096


class TooMuch(ValueError):
    """There is more in a pack than is unpacked."""


def is_pack(data: bytes) -> bool:
    """Whether these bytes are a pack, or a bundle, which is a pack behind a list of branches."""
    return data.startswith(b"PACK\0\0\0") or (data.startswith(_BUNDLE) and b" git bundle\n" in data[:40])


def packed_objects(data: bytes) -> Iterator[tuple[str, str, bytes]]:
    """Kind, id and bytes of each object of a pack. One whose base is elsewhere or too much to be held is left out.

    What is damaged ends with a zlib.error, IndexError or ValueError, what is too much with TooMuch.
    """
    at = data.index(b"PACK") if data.startswith(b"PACK") else data.index(b"\n\nPACK") + 2
    count = int.from_bytes(data[at + 8 : at + 12], "big")
    at += 12
    held: dict[int | bytes, tuple[str, bytes]] = {}
    room, left = _HELD, _MOST
    for _ in range(count):
        place = at
        kind, at = _kind(data, at)
        base: int | bytes = b""
        if kind == _OFFSET:
            back, at = _offset(data, at)
            base = place - back
        elif kind == _REFERENCE:
            base, at = data[at : at + 20], at + 20
        plain, at, size = _unpacked(data, at, left)
        left -= size
        if size > MAX_OBJECT:
            continue
        if kind in _KINDS:
            name = _KINDS[kind]
        elif base in held:
            name, whole = held[base]
            plain = _applied(plain, whole)
            left -= len(plain)
        else:
            continue
        digest = hashlib.sha1(b"%s %d\0" % (name.encode(), len(plain)) + plain, usedforsecurity=False)
        if len(plain) <= room:
            room -= len(plain)
            held[place] = held[digest.digest()] = (name, plain)
        yield name, digest.hexdigest(), plain


def _unpacked(data: bytes, at: int, most: int) -> tuple[bytes, int, int]:
    """What is packed here as far as it is kept, where it ends, and how many bytes it has in all."""
    stream = zlib.decompressobj()
    out = bytearray()
    size = 0
    while not stream.eof:
        piece = data[at : at + _PIECE]
        if not piece:
            raise ValueError("the pack breaks off")
        at += len(piece)
        while piece and not stream.eof:
            plain = stream.decompress(piece, MAX_OBJECT)
            size += len(plain)
            if size > most:
                raise TooMuch
            out += plain[: MAX_OBJECT - len(out)]
            piece = stream.unconsumed_tail
    return bytes(out), at - len(stream.unused_data), size


def _kind(data: bytes, at: int) -> tuple[int, int]:
    """The kind of the object whose head begins here, and where the head ends."""
    kind = data[at] >> 4 & 7
    while data[at] & 0x80:
        at += 1
    return kind, at + 1


def _offset(data: bytes, at: int) -> tuple[int, int]:
    """How far back the base of a delta is, and where that is told to an end."""
    back = data[at] & 0x7F
    while data[at] & 0x80:
        at += 1
        back = (back + 1) << 7 | data[at] & 0x7F
    return back, at + 1


def _applied(delta: bytes, base: bytes) -> bytes:
    """The object that ``delta`` makes of ``base``, cut where it gets too long."""
    at = _size(delta, _size(delta, 0))
    out = bytearray()
    while at < len(delta) and len(out) <= MAX_OBJECT:
        code = delta[at]
        at += 1
        if code & 0x80:
            start = size = 0
            for bit in range(7):
                if code >> bit & 1:
                    if bit < 4:
                        start |= delta[at] << 8 * bit
                    else:
                        size |= delta[at] << 8 * (bit - 4)
                    at += 1
            out += base[start : start + (size or 0x10000)]
        elif code:
            out += delta[at : at + code]
            at += code
        else:
            raise ValueError("no such instruction")
    return bytes(out[:MAX_OBJECT])


def _size(delta: bytes, at: int) -> int:
    """Where the size that begins here ends."""
    while delta[at] & 0x80:
        at += 1
    return at + 1
