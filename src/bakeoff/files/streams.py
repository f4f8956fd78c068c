"""Streams of bytes into files, with a bound on what is kept and none on what is read."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

from msgspec import Struct


class Kept(Struct, frozen=True):
    """``size`` bytes are in the file, of ``seen`` that came."""

    size: int
    seen: int

    @property
    def truncated(self) -> bool:
        return self.seen > self.size


async def keep_stream(stream: AsyncIterator[bytes], path: Path, limit: int) -> Kept:
    """Write the first ``limit`` bytes of ``stream`` to the new file ``path``; read the rest to its end and let it go.

    No more than a chunk is held in memory. Raises OSError where the file cannot be written; the stream is not read further then.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    size = seen = 0
    try:
        async for chunk in stream:
            seen += len(chunk)
            part = memoryview(chunk)[: limit - size]
            size += len(part)
            while part:
                part = part[os.write(descriptor, part) :]
    finally:
        os.close(descriptor)
    return Kept(size=size, seen=seen)


def last_line(path: Path, *, limit: int = 200) -> str:
    """The last line of text in a file that has any, cut to ``limit`` characters; else an empty string.

    What is no printable text (bytes of another encoding, codes that steer a terminal) is replaced.
    """
    lines = [line.strip() for line in read_part(path, 4096, end=True).decode("utf-8", "replace").splitlines()]
    line = next((line for line in reversed(lines) if line), "")[:limit]
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)


def read_part(path: Path, limit: int, *, end: bool = False) -> bytes:
    """The first ``limit`` bytes of a regular file, or its last; nothing where something else is there, which is never waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return b""
    with open(descriptor, "rb") as stream:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return b""
        if end:
            stream.seek(max(0, found.st_size - limit))
        return stream.read(limit)


def read_whole(path: Path, limit: int) -> bytes:
    """All of a regular file that may be anybody's. Raises OSError for what is longer than ``limit``, and for what is
    no regular file, which is never waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a file", str(path))
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"longer than {limit >> 20} MiB", str(path))
    return data


_HOLE = 4096


def write_sparsely(descriptor: int, data: bytes) -> None:
    """Append ``data`` to a file, zeros as a hole: a sparse file must not take the room of what it only claims to be.

    Whoever has written all of a file sets its size: a hole at the end is not there yet.
    """
    if len(data) >= _HOLE and data == bytes(len(data)):
        os.lseek(descriptor, len(data), os.SEEK_CUR)
        return
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
