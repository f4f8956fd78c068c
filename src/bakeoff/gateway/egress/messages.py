"""HTTP/1 messages as a proxy must read them: strictly, so that nobody after it can read them in another way (RFC 9112)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterable, Sequence

from msgspec import Struct

HEAD_LIMIT = 64 << 10
"""Bytes of the lines before a body; also the most that is read ahead."""

_HEADERS = 256
_LINE_LIMIT = 4096  # of a chunk's size with its extensions
_PIECE = 64 << 10
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)|\0")
_TARGET = re.compile(rb"[\x21-\x22\x24-\x7e\x80-\xff]+")  # no fragment
_STATUS = re.compile(rb"(HTTP/1\.[01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")
_NO_BODY = frozenset({204, 304})
_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"content-length",  # written anew, as it was understood
        b"upgrade",
    }
)

Fields = tuple[tuple[bytes, bytes], ...]


class Malformed(Exception):
    """A message that is not HTTP, or could be read in two ways. ``status`` is the answer to it."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Ended(Exception):
    """The peer closed where a message was not yet whole; ``clean``: before its first byte."""

    def __init__(self, *, clean: bool = False) -> None:
        super().__init__("the connection was closed before the end of a message")
        self.clean = clean


class Framing(Struct, frozen=True):
    """How long a body is: ``length`` bytes, ``chunked``, or, with neither, to the end of the connection."""

    length: int | None = None
    chunked: bool = False

    @property
    def empty(self) -> bool:
        return self.length == 0 and not self.chunked


EMPTY = Framing(length=0)


class Request(Struct, frozen=True):
    method: bytes
    target: bytes
    version: bytes
    fields: Fields
    framing: Framing
    keep: bool


class Response(Struct, frozen=True):
    status: int
    phrase: bytes
    fields: Fields
    framing: Framing
    keep: bool


async def read_head(reader: asyncio.StreamReader, first: bytes = b"") -> bytes:
    """The lines before a body, without the empty one at their end; ``first`` has been read already.

    Raises Malformed where they are too long, and Ended.
    """
    try:
        head = first + await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise Malformed(f"more than {HEAD_LIMIT >> 10} KiB of headers", 431) from None
    except asyncio.IncompleteReadError as error:
        raise Ended(clean=not first + error.partial) from None
    return head.removeprefix(b"\r\n")[:-4]  # an empty line before a request is passed over


def parse_request(head: bytes) -> Request:
    start, fields = _lines(head)
    parts = start.split(b" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not _TARGET.fullmatch(parts[1]):
        raise Malformed("not a request line of HTTP/1")
    method, target, version = parts
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise Malformed("only HTTP/1.0 and HTTP/1.1 are spoken here", 505)
    if sum(name.lower() == b"host" for name, _ in fields) > 1:
        raise Malformed("more than one Host")
    framing = _request_framing(fields, version)
    if method == b"CONNECT" and not (framing.empty and not _values(fields, b"content-length")):
        raise Malformed("CONNECT with a body")
    keep = version == b"HTTP/1.1" and b"close" not in _options(fields)
    return Request(method, target, version, fields, framing, keep)


def parse_response(head: bytes, method: bytes) -> Response:
    """The head of the answer to a request with this method."""
    start, fields = _lines(head)
    match = _STATUS.fullmatch(start)
    if match is None:
        raise Malformed("not a status line of HTTP/1")
    status = int(match[2])
    framing = _response_framing(fields, status, method)
    keep = match[1] == b"HTTP/1.1" and b"close" not in _options(fields) and framing != Framing()
    return Response(status, match[3] or b"", fields, framing, keep)


def end_to_end(fields: Fields) -> list[tuple[bytes, bytes]]:
    """The headers without those that are for this connection alone: the known ones and those that ``Connection`` names."""
    dropped = _HOP | _options(fields)
    return [(name, value) for name, value in fields if name.lower() not in dropped]


def write_head(start: bytes, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"\r\n".join([start, *(name + b": " + value for name, value in fields), b"", b""])


CHUNKED = (b"Transfer-Encoding", b"chunked")


def length_fields(fields: Fields) -> list[tuple[bytes, bytes]]:
    """The Content-Length, if there is one: that of a body, or of the one that HEAD leaves out."""
    values = _values(fields, b"content-length")
    return [(b"Content-Length", values[0])] if values else []


async def read_body(reader: asyncio.StreamReader, framing: Framing) -> AsyncGenerator[bytes]:
    """The body in pieces, chunks undone. Raises Ended where it breaks off, Malformed for chunks that are none."""
    if framing.chunked:
        async for piece in _read_chunks(reader):
            yield piece
    elif framing.length is not None:
        async for piece in _read_exactly(reader, framing.length):
            yield piece
    else:
        while piece := await reader.read(_PIECE):
            yield piece


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


LAST_CHUNK = b"0\r\n\r\n"


async def _read_exactly(reader: asyncio.StreamReader, length: int) -> AsyncGenerator[bytes]:
    while length:
        piece = await reader.read(min(length, _PIECE))
        if not piece:
            raise Ended
        length -= len(piece)
        yield piece


async def _read_chunks(reader: asyncio.StreamReader) -> AsyncGenerator[bytes]:
    while True:
        match = _CHUNK.fullmatch(await _line(reader))
        if match is None:
            raise Malformed("not the size of a chunk")
        if not (size := int(match[1], 16)):
            break
        async for piece in _read_exactly(reader, size):
            yield piece
        if await _line(reader):
            raise Malformed("a chunk that is longer than its size")
    room = HEAD_LIMIT
    while line := await _line(reader):  # trailers are for this connection
        room -= len(line)
        if room < 0:
            raise Malformed(f"more than {HEAD_LIMIT >> 10} KiB of trailers", 431)


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        line = await reader.readuntil(b"\r\n")
    except asyncio.LimitOverrunError:
        raise Malformed("a line that is too long") from None
    except asyncio.IncompleteReadError:
        raise Ended from None
    if len(line) > _LINE_LIMIT or _BARE.search(line):
        raise Malformed("a line that is too long, or has no end of its own")
    return line[:-2]


def _lines(head: bytes) -> tuple[bytes, Fields]:
    """The first line and the headers."""
    if _BARE.search(head):
        raise Malformed("a line that does not end in CRLF, or a NUL")
    start, *lines = head.split(b"\r\n")
    if len(lines) > _HEADERS:
        raise Malformed(f"more than {_HEADERS} headers", 431)
    fields: list[tuple[bytes, bytes]] = []
    for line in lines:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        # A line that begins with a space would go on with the one before; a space before the colon is read in two ways.
        if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise Malformed("not a header")
        fields.append((name, value))
    return start, tuple(fields)


def _request_framing(fields: Fields, version: bytes) -> Framing:
    codings, lengths = _values(fields, b"transfer-encoding"), _values(fields, b"content-length")
    if codings:
        if lengths or version == b"HTTP/1.0":
            raise Malformed("Transfer-Encoding with a Content-Length, or with HTTP/1.0")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise Malformed("a Transfer-Encoding other than chunked", 501)
        return Framing(chunked=True)
    return Framing(length=_length(lengths)) if lengths else EMPTY


def _response_framing(fields: Fields, status: int, method: bytes) -> Framing:
    codings, lengths = _values(fields, b"transfer-encoding"), _values(fields, b"content-length")
    if codings and (lengths or len(codings) > 1 or codings[0].lower() != b"chunked"):
        raise Malformed("a Transfer-Encoding other than chunked, or with a Content-Length")
    length = _length(lengths) if lengths else None
    if status < 200 or status in _NO_BODY or method == b"HEAD":
        return EMPTY
    return Framing(chunked=True) if codings else Framing(length=length)


def _length(values: Sequence[bytes]) -> int:
    if len(values) > 1 or not _LENGTH.fullmatch(values[0]):
        raise Malformed("more than one Content-Length, or one that is no number")
    return int(values[0])


def _values(fields: Fields, wanted: bytes) -> list[bytes]:
    return [value for name, value in fields if name.lower() == wanted]


def _options(fields: Fields) -> frozenset[bytes]:
    """What ``Connection``, and the ``Proxy-Connection`` that some clients send in its place, name."""
    named = (value for name, value in fields if name.lower() in (b"connection", b"proxy-connection"))
    return frozenset(option.strip(b" \t").lower() for value in named for option in value.split(b","))
