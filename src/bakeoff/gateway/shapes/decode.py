"""Take the content encoding off a body, whatever it claims and however it ends."""

from __future__ import annotations

import zlib

from bakeoff.gateway.shapes.reading import BadShape
from bakeoff.records.exchanges import Headers

LIMIT = 256 << 20
"""The most bytes that a body is unpacked to."""

CODINGS = ("gzip", "x-gzip", "deflate", "zstd", "identity")
"""What can be unpacked: the gateway must not let a provider believe that more is accepted."""

_PIECE = 1 << 16
_WINDOW = 1 << 27
_MEMBERS = 64


def decode(body: bytes, headers: Headers, *, limit: int = LIMIT) -> bytes:
    """``body`` without the codings that the header ``Content-Encoding`` names; of one that was cut, what came of it.

    Raises BadShape for an unknown coding, for bytes that are not of the coding named, and for more than ``limit`` bytes.
    """
    named = ",".join(value for name, value in headers if name.lower() == "content-encoding")
    for coding in reversed([word.strip().lower() for word in named.split(",") if word.strip()]):
        body = _unpack(body, coding, limit)
    return body


def _unpack(body: bytes, coding: str, limit: int) -> bytes:
    if coding == "identity" or not body:
        return body
    if coding in ("gzip", "x-gzip"):
        return _inflate(body, 31, coding, limit)
    if coding == "deflate":
        # Some send the bare stream without zlib's head: the two are told apart by its first byte and checksum.
        wrapped = len(body) > 1 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
        return _inflate(body, 15 if wrapped else -15, coding, limit)
    if coding == "zstd":
        return _unzstd(body, limit)
    raise BadShape(f"content-encoding {coding!r} is none of {', '.join(CODINGS)}")


def _inflate(body: bytes, bits: int, coding: str, limit: int) -> bytes:
    out = bytearray()
    rest = body
    for _ in range(_MEMBERS):
        unpacker = zlib.decompressobj(bits)
        try:
            out += unpacker.decompress(rest, limit + 1 - len(out))
        except zlib.error as error:
            raise BadShape(f"not {coding}: {error}") from None
        _check(len(out), limit)
        rest = unpacker.unused_data.lstrip(b"\0")
        if not rest:
            return bytes(out)
    raise BadShape(f"{coding} in more than {_MEMBERS} members")


def _unzstd(body: bytes, limit: int) -> bytes:
    import zstandard

    out = bytearray()
    unpacker = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    try:
        with unpacker.stream_reader(body, read_across_frames=True) as reader:
            while piece := reader.read(_PIECE):
                out += piece
                _check(len(out), limit)
    except zstandard.ZstdError as error:
        raise BadShape(f"not zstd: {error}") from None
    return bytes(out)


def _check(size: int, limit: int) -> None:
    if size > limit:
        raise BadShape(f"unpacks to more than {limit} bytes")
