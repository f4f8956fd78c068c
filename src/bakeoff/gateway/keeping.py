"""What the writer's thread does for one trial: lines in the order of their requests, compressed, synced at the end."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from hashlib import sha256 as new_sha256
from pathlib import Path
from typing import TYPE_CHECKING

from bakeoff.errors import InputError
from bakeoff.files.atomic import write_json
from bakeoff.gateway.blobs import Blobs
from bakeoff.gateway.secrets import Secrets
from bakeoff.records.exchanges import Exchange
from bakeoff.records.fixture_files import BLOBS, COMPRESSED, REFUSED, Refusal, line_of
from bakeoff.records.results import SCHEMA_VERSION

if TYPE_CHECKING:
    from zstandard import ZstdCompressor

_FRAME = 1 << 20  # bytes of lines that make a frame, whether or not more is waiting


class Keeper:
    """The files of one recording. Of the writer's thread alone."""

    def __init__(self, folder: Path, secrets: Secrets) -> None:
        self.folder = folder
        self.secrets = secrets
        self.blobs = Blobs(folder)
        self.exchanges = 0
        self.redactions: dict[str, int] = {}
        self.refused: set[str] = set()
        self.sha256 = new_sha256()
        self._descriptor = -1
        self._size = 0
        self._waiting: dict[int, bytes] = {}
        self._lines: list[bytes] = []
        self._pending = 0

    def open(self) -> None:
        """Raises InputError where there is a recording already."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / COMPRESSED
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            raise InputError("there is a recording already", where=str(path), wanted="an empty folder") from None

    def ended(self, exchange: Exchange, *, suspect: bool, unended: Iterable[int]) -> None:
        """An exchange has ended. It is written when all with lower numbers have; ``unended`` are those that have not."""
        line = line_of(exchange)
        if suspect:
            self.refused.update(self.secrets.left(line))
        if self.refused:
            return
        self._waiting[exchange.seq] = line
        first = min(unended, default=None)
        for seq in sorted(self._waiting):
            if first is not None and seq > first:
                break
            self._lines.append(self._waiting.pop(seq))
            self._pending += len(self._lines[-1])
        if self._pending > _FRAME:
            self.flush()

    def flush(self) -> None:
        """Write what can be written, as a frame of its own: what has been flushed can be read, whatever happens next."""
        if not self._lines or self.refused:
            return
        if self._descriptor < 0:
            self.open()
        data = b"".join(self._lines)
        frame = _compress(data)
        try:
            written = 0
            while written < len(frame):
                written += os.write(self._descriptor, frame[written:])
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(frame)
        self.sha256.update(data)
        self.exchanges += len(self._lines)
        self._lines, self._pending = [], 0

    def finish(self) -> None:
        """Everything to the disk; or, where a secret is left that was not replaced, nothing but why. Without requests there is no file."""
        if self.refused:
            self._refuse()
            return
        self.flush()
        if self._descriptor < 0:
            return
        os.fdatasync(self._descriptor)
        for file in self.blobs.files:
            _sync(file)
        if self.blobs.files:
            _sync(self.folder / BLOBS)
        _sync(self.folder)

    def close(self) -> None:
        """Give back what is open, however it ended."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _refuse(self) -> None:
        (self.folder / COMPRESSED).unlink(missing_ok=True)
        blobs = self.folder / BLOBS
        for file in blobs.iterdir() if blobs.is_dir() else ():
            file.unlink()
        self.folder.mkdir(parents=True, exist_ok=True)
        why = "what was recorded still held secrets after all that were found had been replaced; nothing of it was kept"
        write_json(
            self.folder / REFUSED,
            Refusal(schema_version=SCHEMA_VERSION, reason=why, kinds=tuple(sorted(self.refused))),
        )
        self.exchanges = 0


def _compress(data: bytes) -> bytes:
    return _compressor().compress(data)


@cache
def _compressor() -> ZstdCompressor:
    """That of the writer's thread: making one takes longer than a small frame."""
    import zstandard

    return zstandard.ZstdCompressor(level=3, write_checksum=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
