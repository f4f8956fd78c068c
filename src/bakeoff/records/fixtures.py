"""Fixtures: recorded exchanges with their provenance, read and checked."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import stat
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from bakeoff.errors import InputError
from bakeoff.records.exchanges import Blob, Exchange, Provenance
from bakeoff.records.fixture_files import (
    BLOBS,
    COMPRESSED,
    EXCHANGES,
    PROVENANCE,
    REFUSED,
    digest,
    digest_of_lines,
)
from bakeoff.records.fixture_lines import exchanges_file, read_exchanges
from bakeoff.records.provenance import read_provenance

__all__ = ["Fixture", "digest", "digest_of_lines", "find_fixtures", "read_fixture"]

MAX_BODY = 512 << 20
"""Bytes of one body."""

Side = Literal["request", "response"]

_CACHED = 32 << 20
_BLOB_FILE = re.compile(rf"{BLOBS}/[0-9a-f]{{64}}")
_MAX_FOLDERS = 200_000


class Fixture:
    """A fixture that was read. ``sha256`` is the digest of its lines as they are; ``provenance`` is None where there is none.

    Bodies are read when they are asked for. With ``as_edited`` those that somebody has changed by hand are read as they are now.
    """

    def __init__(
        self,
        folder: Path,
        file: Path,
        provenance: Provenance | None,
        exchanges: tuple[Exchange, ...],
        sha256: str,
        *,
        as_edited: bool = False,
    ) -> None:
        self.folder = folder
        self.file = file
        self.provenance = provenance
        self.exchanges = exchanges
        self.sha256 = sha256
        self._as_edited = as_edited
        self._edited = False
        self._places: dict[str, tuple[int, Side]] = {}
        self._numbers = {exchange.seq: number for number, exchange in enumerate(exchanges)}
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cached = 0
        for number, exchange in enumerate(exchanges):
            for side in ("request", "response"):
                self._places.setdefault(_blob(exchange, side).sha256, (number, side))

    @property
    def modified(self) -> bool:
        """The fixture was edited: the lines are not those that the provenance speaks of, or a body that was read is another."""
        return self._edited or (self.provenance is not None and self.provenance.sha256 != self.sha256)

    def body(self, exchange: Exchange, side: Side) -> bytes:
        """The exact bytes of a request or a response of this fixture.

        Raises InputError where they cannot be had, and (but for ``as_edited``) where they are not those that were recorded.
        """
        return self._resolve(self._numbers[exchange.seq], side)

    def verify(self) -> Iterator[InputError]:
        """What is wrong with any body."""
        for exchange in self.exchanges:
            for side in ("request", "response"):
                try:
                    self.body(exchange, side)
                except InputError as fault:
                    yield fault

    def _resolve(self, number: int, side: Side) -> bytes:
        """Deltas are followed down to a body that is whole, then applied on the way back; each is checked by its hash."""
        chain: list[tuple[int, Side]] = []
        at: tuple[int, Side] = (number, side)
        data: bytes | None = None
        while True:
            blob = _blob(self.exchanges[at[0]], at[1])
            data = self._cache.get(blob.sha256)
            if data is not None:
                self._cache.move_to_end(blob.sha256)
                break
            chain.append(at)
            if blob.delta is None:
                break
            base = self._places.get(blob.delta.base)
            if base is None or base >= at:
                raise self._wrong(
                    at,
                    "delta.base",
                    "is of no body before this one",
                    found=blob.delta.base[:80],
                    wanted="a known sha256",
                )
            at = base
        for place in reversed(chain):
            data = self._whole(place, data)
            self._remember(_blob(self.exchanges[place[0]], place[1]).sha256, data)
        assert data is not None
        return data

    def _whole(self, place: tuple[int, Side], base: bytes | None) -> bytes:
        """The bytes of one blob, with its base at hand, checked."""
        blob = _blob(self.exchanges[place[0]], place[1])
        if not 0 <= blob.size <= MAX_BODY:
            raise self._wrong(place, "size", "out of range", found=str(blob.size), wanted=f"0 to {MAX_BODY}")
        data = self._middle(place, blob)
        if blob.delta is not None:
            assert base is not None
            prefix, suffix = blob.delta.prefix, blob.delta.suffix
            if self._as_edited:  # the base may have been made shorter
                prefix = min(max(prefix, 0), len(base))
                suffix = min(max(suffix, 0), len(base) - prefix)
            if prefix < 0 or suffix < 0 or prefix + suffix > len(base):
                raise self._wrong(
                    place,
                    "delta",
                    "a range beyond its base",
                    found=f"prefix {prefix} and suffix {suffix}",
                    wanted=f"together at most the {len(base)} bytes of the base",
                )
            data = base[:prefix] + data + base[len(base) - suffix :]
        found = hashlib.sha256(data).hexdigest()
        if self._as_edited:
            self._edited |= found != blob.sha256
            return data
        if len(data) != blob.size:
            raise self._wrong(place, "size", "is not that of the bytes", found=str(blob.size), wanted=str(len(data)))
        if found != blob.sha256:
            raise self._wrong(
                place, "sha256", "the bytes are not those that were recorded", found=found, wanted=blob.sha256[:80]
            )
        return data

    def _middle(self, place: tuple[int, Side], blob: Blob) -> bytes:
        """What the blob itself holds."""
        held = [name for name in ("text", "base64", "file") if getattr(blob, name) is not None]
        if len(held) != 1:
            raise self._wrong(
                place,
                "",
                "where are the bytes?",
                found=" and ".join(held) or "nothing",
                wanted="one of text, base64 and file",
            )
        if blob.text is not None:
            try:
                return blob.text.encode()
            except UnicodeEncodeError as error:
                raise self._wrong(place, "text", f"not UTF-8: {error.reason}") from None
        if blob.base64 is not None:
            try:
                return base64.b64decode(blob.base64, validate=True)
            except (binascii.Error, ValueError) as error:
                raise self._wrong(place, "base64", f"not base64: {error}") from None
        assert blob.file is not None
        return self._file(place, blob.file)

    def _file(self, place: tuple[int, Side], name: str) -> bytes:
        """A file of the fixture's own folder, and no other."""
        if _BLOB_FILE.fullmatch(name) is None:
            raise self._wrong(
                place, "file", "not a blob of this fixture", found=name[:80], wanted=f"{BLOBS}/ and a sha256"
            )
        try:
            folder = os.open(self.folder / BLOBS, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                descriptor = os.open(name.partition("/")[2], flags, dir_fd=folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise self._wrong(place, "file", f"cannot be read: {error.strerror}", found=name) from None
        with open(descriptor, "rb") as stream:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode) or info.st_size > MAX_BODY:
                raise self._wrong(
                    place, "file", "not a plain file, or too long", found=name, wanted=f"at most {MAX_BODY} bytes"
                )
            return stream.read()

    def _wrong(
        self, place: tuple[int, Side], field: str, what: str, *, found: str = "", wanted: str = ""
    ) -> InputError:
        return InputError(
            what,
            where=f"{self.file}: line {place[0] + 1}",
            field=f"{place[1]}.{field}" if field else place[1],
            found=found,
            wanted=wanted,
        )

    def _remember(self, sha256: str, data: bytes) -> None:
        if len(data) > _CACHED // 4 or sha256 in self._cache:
            return
        self._cache[sha256] = data
        self._cached += len(data)
        while self._cached > _CACHED:
            _, gone = self._cache.popitem(last=False)
            self._cached -= len(gone)


def _blob(exchange: Exchange, side: Side) -> Blob:
    return exchange.request if side == "request" else exchange.response


def read_fixture(folder: Path, *, as_edited: bool = False) -> Fixture:
    """The fixture in a folder. ``as_edited``: bodies that were changed by hand are read as they are now (``Fixture.modified`` says so).

    Raises InputError, with file and line, where it cannot be read or holds nonsense.
    """
    path = exchanges_file(folder)
    provenance = read_provenance(folder)
    exchanges: list[Exchange] = []
    sha256 = hashlib.sha256()
    for line, exchange in read_exchanges(path):
        sha256.update(line)
        exchanges.append(exchange)
    return Fixture(folder, path, provenance, tuple(exchanges), sha256.hexdigest(), as_edited=as_edited)


def find_fixtures(path: Path) -> list[Path]:
    """The folder itself, if it is a fixture, or every fixture below it, in order of names; links are not followed.

    Raises InputError where there is none.
    """
    if not path.is_dir():
        raise InputError("no such folder", where=str(path), wanted="a fixture, or a folder with fixtures in it")
    found = [Path(folder) for folder in _walk(path)]
    if not found:
        raise InputError(
            "there is no fixture in it", where=str(path), wanted=f"a folder with {EXCHANGES} or {COMPRESSED}"
        )
    return found


def _walk(path: Path) -> Iterator[str]:
    for seen, (folder, below, files) in enumerate(os.walk(path)):
        if seen >= _MAX_FOLDERS:
            raise InputError("too many folders", where=str(path), wanted=f"at most {_MAX_FOLDERS}")
        below.sort()
        if {EXCHANGES, COMPRESSED, PROVENANCE, REFUSED} & set(files):
            below.clear()
            yield folder
