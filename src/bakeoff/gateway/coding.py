"""Content codings: compressed bodies are passed on as they are, and read on the side."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator

from bakeoff.records.exchanges import Headers

PIECE = 256 << 10
"""What one step of a decoder gives at most, so that a small body that unpacks to a huge one costs time and no memory."""


class Unreadable(Exception):
    """A body in a coding that is not known here, or that does not hold to it."""


def header(headers: Headers, name: str) -> str:
    """The values of a header, joined as HTTP joins them; empty where it is missing. ``name`` is in lower case."""
    return ", ".join(value for key, value in headers if key.lower() == name)


def codings(headers: Headers) -> tuple[str, ...]:
    """The codings of a body in the order in which they were applied; none for a plain one."""
    names = (name.strip().lower() for name in header(headers, "content-encoding").split(","))
    return tuple(name for name in names if name not in ("", "identity"))


Step = Callable[[bytes], Iterator[bytes]]


class Decoder:
    """Takes a body's bytes and gives them decoded, piece by piece. Raises Unreadable."""

    def __init__(self, names: Iterable[str]) -> None:
        self._steps = [_step(name) for name in reversed(tuple(names))]

    @property
    def plain(self) -> bool:
        return not self._steps

    def feed(self, data: bytes) -> Iterator[bytes]:
        stream: Iterator[bytes] = iter((data,))
        for step in self._steps:
            stream = _through(step, stream)
        return stream


def _through(step: Step, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield from step(piece)


def _step(name: str) -> Step:
    if name in ("gzip", "x-gzip"):
        return _Deflated(31).feed
    if name == "deflate":
        return _Deflated(None).feed
    if name == "zstd":
        return _zstd()
    raise Unreadable(f"the content coding {name[:40]!r} is not known")


class _Deflated:
    """``wbits`` None: ``deflate``, which some send with zlib's header and some without."""

    def __init__(self, wbits: int | None) -> None:
        self._wbits = wbits
        self._inner = zlib.decompressobj(wbits) if wbits else None

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inner is None:
                zlib_header = data[0] & 0x0F == 8 and data[0] >> 4 <= 7
                self._inner = zlib.decompressobj(self._wbits or (15 if zlib_header else -15))
            try:
                out = self._inner.decompress(data, PIECE)
            except zlib.error as error:
                raise Unreadable("a compressed body is not what its header says") from error
            if out:
                yield out
            data = self._inner.unconsumed_tail
            if self._inner.eof:
                # Several members in a row are one body.
                data = self._inner.unused_data
                self._inner = None if self._wbits is None else zlib.decompressobj(self._wbits)


def _zstd() -> Step:
    import zstandard

    # The window is bounded as browsers bound it: 8 MiB.
    unpacker = zstandard.ZstdDecompressor(max_window_size=8 << 20)
    inner = unpacker.decompressobj()

    def feed(data: bytes) -> Iterator[bytes]:
        nonlocal inner
        # A small step of input, for this decoder has no bound on what one step gives.
        for start in range(0, len(data), 1024):
            part = data[start : start + 1024]
            while part:
                try:
                    out = inner.decompress(part)
                except zstandard.ZstdError as error:
                    raise Unreadable("a compressed body is not what its header says") from error
                if out:
                    yield out
                part = inner.unused_data
                if part or inner.eof:
                    inner = unpacker.decompressobj()

    return feed
