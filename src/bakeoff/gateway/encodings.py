"""Bodies that came compressed, as text: for looking into them, never for passing them on."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Protocol

from bakeoff.records.exchanges import Headers

MAX_DECODED = 1 << 30
"""Bytes to which one body may unfold."""

_STEP = 256 << 10


class Unreadable(Exception):
    """A body in an encoding that is not known here, or that is damaged or unfolds beyond all bounds."""


class _Decoder(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]: ...


def encoding_of(headers: Headers) -> str:
    """The content encoding that headers declare; empty for none."""
    named = [value.strip().lower() for name, value in headers if name.lower() == "content-encoding"]
    return ",".join(item for item in named if item and item != "identity")


def decoded(data: bytes, headers: Headers, *, limit: int = 64 << 20) -> bytes:
    """The body without its content encoding (gzip, deflate, zstd). Raises Unreadable."""
    encoding = encoding_of(headers)
    return b"".join(decode_pieces([data], encoding, limit=limit)) if encoding else data


def decode_pieces(pieces: Iterable[bytes], encoding: str, *, limit: int = MAX_DECODED) -> Iterator[bytes]:
    """The same for pieces, in pieces of at most 256 KiB. Raises Unreadable."""
    decoder = decoder_of(encoding)
    total = 0
    for piece in pieces:
        for out in decoder.feed(piece):
            total += len(out)
            if total > limit:
                raise Unreadable(f"unfolds to more than {limit} bytes")
            yield out


def decoder_of(encoding: str) -> _Decoder:
    """A decoder of one encoding. Raises Unreadable where it is not known."""
    if encoding in ("gzip", "x-gzip"):
        return _Zlib(31)
    if encoding == "deflate":
        return _Zlib(0)
    if encoding == "zstd":
        return _Zstd()
    raise Unreadable(f"the encoding {encoding} is not known")


class _Zlib:
    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._stream = zlib.decompressobj(bits or 15)
        self._begun = bool(bits)

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            if not self._begun and data:
                self._begun = True
                # what is called deflate is meant to have zlib's header, and now and then has none
                if data[0] & 0x0F != 8 or (len(data) > 1 and (data[0] * 256 + data[1]) % 31):
                    self._stream = zlib.decompressobj(-15)
            while data:
                yield self._stream.decompress(data, _STEP)
                data = self._stream.unconsumed_tail
                if self._stream.eof:
                    data = self._stream.unused_data
                    self._stream = zlib.decompressobj(self._bits or 15)
        except zlib.error as error:
            raise Unreadable(str(error)) from None


class _Zstd:
    def __init__(self) -> None:
        import zstandard

        self._error = zstandard.ZstdError
        self._make = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        self._stream = self._make.decompressobj()

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            while data:
                step, data = data[:256], data[256:]  # a few bytes can unfold to megabytes
                yield self._stream.decompress(step)
                if self._stream.eof:
                    data = self._stream.unused_data + data
                    self._stream = self._make.decompressobj()
        except self._error as error:
            raise Unreadable(str(error)) from None
