"""A body that comes in pieces, as it is stored: in memory while it is small, from then on in a file, with every secret out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from bakeoff.gateway.coding import Decoder, Unreadable, unfold
from bakeoff.gateway.secrets import Redactor, Secrets, added

SPOOL = 1 << 20
"""Bytes of a body beyond which it is written to a file as it comes."""

_STEP = 256 << 10
UNFOLDED = 64 << 20  # bytes to which a small compressed body may unfold to be looked into
_LONGEST = 1 << 30  # bytes of a long one that are stored; what is beyond is cut off, and counted as unread


class Taken(Struct, frozen=True, kw_only=True):
    """A body as it is stored: ``data``, or what is in ``file``. ``size`` and ``sha256`` are of that.

    ``at`` says where a place in what came is in what is stored. ``unfolded``: it came compressed and is stored without, since
    something in it had to go; it has no places then. ``left``: what was still in a file at the last look.
    """

    data: bytes = b""
    file: Path | None = None
    size: int
    sha256: str
    counts: Mapping[str, int] = {}
    at: Callable[[int], int] | None = None
    unfolded: bool = False
    left: tuple[str, ...] = ()


class Taking:
    """Feed it pieces and ``finish`` it. ``codings`` are the body's content codings; ``spool`` gives the name of a file."""

    def __init__(self, secrets: Secrets, codings: Sequence[str], spool: Callable[[], Path]) -> None:
        self._secrets = secrets
        self._codings = codings
        self._spool = spool
        self._parts: list[bytes] = []
        self._size = 0
        self._file: _File | None = None

    def add(self, pieces: Iterable[bytes]) -> None:
        """More of it. Raises OSError where it cannot be written."""
        for piece in pieces:
            self._parts.append(piece)
            self._size += len(piece)
        if self._file is None and self._size > SPOOL:
            self._file = _File(self._spool(), self._secrets, self._codings)
        if self._file is not None:
            self._file.add(self._parts)
            self._parts = []

    def finish(self, *, clean: bool = False) -> Taken:
        """All has come. ``clean``: whoever calls has looked, and there is no secret in what is in memory."""
        if self._file is not None:
            return self._file.finish()
        return in_memory(b"".join(self._parts), self._codings, self._secrets, clean=clean)

    def in_memory(self) -> bytes | None:
        """The whole body, if it came without a content encoding and is not in a file."""
        return b"".join(self._parts) if self._file is None and not self._codings else None

    def drop(self) -> None:
        """Leave nothing behind."""
        if self._file is not None:
            self._file.drop()


def in_memory(data: bytes, codings: Sequence[str], secrets: Secrets, *, clean: bool = False) -> Taken:
    """A small body, redacted. A compressed one stays as it came unless something in it had to go."""
    counts: dict[str, int] = {}
    if codings and data:
        try:
            plain = unfold(data, codings, UNFOLDED)
        except Unreadable:
            counts["unread body"] = 1
        else:
            redacted, found = secrets.redact(plain)
            if found:
                return Taken(data=redacted, size=len(redacted), sha256=_sha256(redacted), counts=found, unfolded=True)
            return Taken(data=data, size=len(data), sha256=_sha256(data))
    if clean or not secrets.suspect(data):
        return Taken(data=data, size=len(data), sha256=_sha256(data), counts=counts)
    redactor = secrets.redactor()
    redacted = redactor.feed(data) + redactor.end()
    counts = added(counts, redactor.counts)
    return Taken(data=redacted, size=len(redacted), sha256=_sha256(redacted), counts=counts, at=redactor.at)


class _File:
    """A body on its way into a file. What came compressed is stored without: only so can secrets be kept from the disk as it comes."""

    def __init__(self, path: Path, secrets: Secrets, codings: Sequence[str]) -> None:
        self._path = path
        self._secrets = secrets
        self._redactor: Redactor = secrets.redactor()
        self._sha256 = hashlib.sha256()
        self._size = 0
        self._waiting: list[bytes] = []
        self._waits = 0
        self._before = b""
        self._left: set[str] = set()
        self._unread = False
        self._unfolded = 0
        try:
            self._decoder = Decoder(codings, self._plain) if codings else None
        except Unreadable:
            self._decoder, self._unread = None, True
        self._stream = open(path, "wb", buffering=0)  # noqa: SIM115 (closed by finish or drop)

    def add(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self._waiting.append(piece)
            self._waits += len(piece)
        if self._waits >= _STEP:
            self._flush()

    def finish(self) -> Taken:
        self._flush()
        self._write(self._redactor.end())
        self._stream.close()
        counts = added(self._redactor.counts, {"unread body": 1} if self._unread else {})
        return Taken(
            file=self._path,
            size=self._size,
            sha256=self._sha256.hexdigest(),
            counts=counts,
            at=None if self._decoder else self._redactor.at,
            unfolded=self._decoder is not None,
            left=tuple(sorted(self._left)),
        )

    def drop(self) -> None:
        self._stream.close()
        self._path.unlink(missing_ok=True)

    def _flush(self) -> None:
        data = b"".join(self._waiting)
        self._waiting, self._waits = [], 0
        if self._decoder is None:
            for start in range(0, len(data), _STEP):
                self._write(self._redactor.feed(data[start : start + _STEP]))
        elif not self._unread:
            try:
                self._decoder.feed(data)
            except Unreadable:
                self._unread = True

    def _plain(self, piece: bytes) -> None:
        self._unfolded += len(piece)
        if self._unfolded > _LONGEST:
            raise Unreadable("the body unfolds to too much")
        self._write(self._redactor.feed(piece))

    def _write(self, data: bytes) -> None:
        if not data:
            return
        looked = self._before + data
        self._left.update(self._secrets.left(looked))
        self._before = looked[-self._secrets.reach :]
        self._sha256.update(data)
        self._size += len(data)
        view = memoryview(data)
        while view:
            view = view[self._stream.write(view) or 0 :]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
