"""Bodies of requests: in memory while they are small, in a temporary file without a name beyond that."""

from __future__ import annotations

import hashlib
import os
import tempfile
import weakref
from collections.abc import Iterator

IN_MEMORY = 1 << 20
"""Bytes up to which a body stays in memory."""

PIECE = 256 << 10


class Spool:
    """Takes the bytes of a body as they come; ``done`` gives the body."""

    def __init__(self, limit: int = IN_MEMORY) -> None:
        self._limit = limit
        self._hash = hashlib.sha256()
        self._size = 0
        self._parts: list[bytes] = []
        self._file: _File | None = None

    def write(self, data: bytes) -> None:
        """Raises OSError where the disk for temporary files is full."""
        self._hash.update(data)
        self._size += len(data)
        if self._file is None and self._size > self._limit:
            self._file = _File()
            for part in self._parts:
                self._file.write(part)
            self._parts.clear()
        if self._file is None:
            self._parts.append(data)
        else:
            self._file.write(data)

    def done(self) -> SpooledBody:
        data = b"" if self._file else self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        return SpooledBody(self._size, self._hash.hexdigest(), data, self._file)


class SpooledBody:
    """A ``traffic.Body``. It can be read from any thread, by several at once."""

    __slots__ = ("_data", "_file", "sha256", "size")

    def __init__(self, size: int, sha256: str, data: bytes, file: _File | None) -> None:
        self.size = size
        self.sha256 = sha256
        self._data = data
        self._file = file

    def read(self) -> bytes:
        return self._data if self._file is None else self._file.read(0, self.size)

    def pieces(self) -> Iterator[bytes]:
        for start in range(0, self.size, PIECE):
            yield self.part(start, min(start + PIECE, self.size))

    def part(self, start: int, end: int) -> bytes:
        if self._file is None:
            return self._data if end - start == self.size else self._data[start:end]
        return self._file.read(start, end - start)


def body(data: bytes = b"") -> SpooledBody:
    """A body of these bytes."""
    spool = Spool()
    spool.write(data)
    return spool.done()


class _File:
    """A file that has no name, and ends with the last who holds it: several read the body, and none of them knows who is last."""

    def __init__(self) -> None:
        with tempfile.TemporaryFile(buffering=0) as file:
            self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def read(self, start: int, size: int) -> bytes:
        parts: list[bytes] = []
        while size > 0 and (part := os.pread(self._descriptor, size, start)):
            parts.append(part)
            start += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
