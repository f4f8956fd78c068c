"""What stands inside visible bytes: members of archives, packed files, base64. Bounded, whatever the bytes are."""

from __future__ import annotations

import base64
import bz2
import codecs
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import Protocol

from msgspec import Struct

from bakeoff.checks.leak.packs import TooMuch, is_pack, packed_objects
from bakeoff.files import tar
from bakeoff.files.tar import TarError

DEPTH = 3
_BASE64 = re.compile(
    rb"[A-Za-z0-9+/_-]{16,}(?:\s*\n\s*[A-Za-z0-9+/_-]{16,})*(?:\s*\n\s*[A-Za-z0-9+/_-]{1,15})?(?![^\s=\"'),;<>])"
)
_BASE64_LEAST = 48
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_STREAM_STARTS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x78\x01", b"\x78\x9c", b"\x78\xda")
_PACKED = (*_STREAM_STARTS, b"PK\x03\x04")
_OLD_TAR = re.compile(rb"[0-7 ]{6}\0[ \0]")
_STREAMS = 64
_DAMAGED = (
    TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    OSError,
    EOFError,
    IndexError,
    ValueError,
    RuntimeError,  # of zipfile: encrypted, or packed in a way that it does not know
)


class _Decompressor(Protocol):
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class Budget:
    """How much may be looked at: ``bytes`` and ``items`` are what is left, ``each`` is the most of one item.

    ``left_out`` says of what not all was looked at, and why.
    """

    def __init__(self, size: int, items: int, each: int) -> None:
        self.bytes = size
        self.items = items
        self.each = each
        self.left_out: dict[str, str] = {}

    def take(self, size: int) -> bool:
        """Whether another item of this size may be looked at; if so, it counts."""
        if self.items <= 0 or size > self.bytes:
            self.leave_out("what is visible", "too many files or bytes")
            return False
        self.items -= 1
        self.bytes -= size
        return True

    def leave_out(self, what: str, why: str) -> None:
        """Something of ``what`` is not looked at; the first reason is kept."""
        self.left_out.setdefault(what, why)


class Inner(Struct, frozen=True):
    """One thing inside: its name there, and its bytes."""

    name: str
    data: bytes


def inside(data: bytes, budget: Budget, depth: int = DEPTH) -> Iterator[Inner]:
    """Everything inside ``data``, however it is packed, ``depth`` wrappings deep. What is damaged ends early, and nothing is raised.

    Names of members in members are parted by ``!``.
    """
    if depth == 0 or len(data) < 20:
        return
    for inner in _unwrapped(data, budget):
        if not budget.take(len(inner.data)):
            return
        yield inner
        for deeper in inside(inner.data, budget, depth - 1):
            yield Inner(f"{inner.name}!{deeper.name}", deeper.data)


def _unwrapped(data: bytes, budget: Budget) -> Iterator[Inner]:
    try:
        if data.startswith(_STREAM_STARTS):
            yield Inner("unpacked", _unpack(data, budget))
        elif data.startswith(b"PK\x03\x04"):
            yield from _zip_members(data, budget)
        elif is_pack(data):
            yield from _git_objects(data, budget)
        elif data[257:262] == b"ustar" or _OLD_TAR.fullmatch(data[148:156]):
            yield from _tar_members(data, budget)
        elif b"\0" not in data[:8192]:
            yield from _base64(data, budget)
    except _DAMAGED:
        return


def _most(budget: Budget) -> int:
    return max(min(budget.each, budget.bytes), 0)


def _unpack(data: bytes, budget: Budget) -> bytes:
    """The first of the bytes that were packed, of all streams one after the other; one that ends early gives what there is."""
    most = _most(budget)
    out = bytearray()
    for _ in range(_STREAMS):
        stream = _decompressor(data)
        try:
            out += stream.decompress(data, most + 1 - len(out))
        except _DAMAGED:
            break
        data = stream.unused_data
        if not data.startswith(_STREAM_STARTS) or len(out) > most:
            break
    if len(out) > most:
        budget.leave_out("what is packed", "too long")
    return bytes(out[:most])


def _decompressor(data: bytes) -> _Decompressor:
    if data.startswith(b"BZh"):
        return bz2.BZ2Decompressor()
    if data.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor(memlimit=256 << 20)
    return zlib.decompressobj(wbits=47)


def _zip_members(data: bytes, budget: Budget) -> Iterator[Inner]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            if info.is_dir() or budget.items <= 0:
                continue
            try:
                with archive.open(info) as member:
                    content = member.read(_most(budget) + 1)
            except _DAMAGED:
                continue  # it is damaged, or needs a password
            if len(content) > _most(budget):
                budget.leave_out("the archives", "a member is too long")
                continue
            yield Inner(info.filename, content)


def _git_objects(data: bytes, budget: Budget) -> Iterator[Inner]:
    try:
        for kind, name, content in packed_objects(data):
            if len(content) > _most(budget):
                budget.leave_out("a pack", "an object is too long")
            elif kind != "tree":
                yield Inner(f"{kind} {name[:12]}", content)
    except TooMuch:
        budget.leave_out("a pack", "it holds too much")


def _tar_members(data: bytes, budget: Budget) -> Iterator[Inner]:
    name, parts, size = "", bytearray(), 0
    for member, piece in tar.Parser().feed(data):
        if member is not None:
            if name:
                yield Inner(name, bytes(parts))
            wanted = member.kind == tar.FILE and member.size <= _most(budget)
            if member.kind == tar.FILE and not wanted:
                budget.leave_out("the archives", "a member is too long")
            name = member.name.decode("utf-8", "backslashreplace") if wanted else ""
            parts, size = bytearray(), member.size
        elif piece is not None and name:
            parts += piece
    if name and len(parts) == size:
        yield Inner(name, bytes(parts))


def _base64(data: bytes, budget: Budget) -> Iterator[Inner]:
    for found in _BASE64.finditer(data):
        packed = b"".join(found.group().split()).translate(_URL_SAFE)
        if len(packed) < _BASE64_LEAST or budget.items <= 0:
            continue
        packed = packed[: len(packed) - (len(packed) % 4 == 1)]
        plain = base64.b64decode(packed + b"=" * (-len(packed) % 4))
        if len(plain) <= _most(budget) and _says_something(plain):
            yield Inner("base64", plain)


def _says_something(plain: bytes) -> bool:
    """Whether what was decoded is a text or packed again; what only looked like base64 gives neither."""
    if plain.startswith(_PACKED):
        return True
    try:
        return "\0" not in codecs.getincrementaldecoder("utf-8")().decode(plain[:400], final=len(plain) <= 400)
    except UnicodeDecodeError:
        return False
