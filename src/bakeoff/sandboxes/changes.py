"""What the upper layers of an overlay change in the layers below: added, modified, deleted.

Only what stands in the upper layers is looked at, and only with ``stat``: a file that was written counts as modified whether
or not its bytes differ now, and so does one whose mode or owner alone was changed. A folder counts where its own mode or owner
differs. A folder that was moved is one deleted and one added, as the overlay has it; below one that was deleted nothing is told.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from bakeoff.errors import SandboxError
from bakeoff.files.inside import open_below, open_subfolder, relock, unlock
from bakeoff.files.owners import Owners
from bakeoff.sandboxes.base import Change

_OPAQUE = ("user.overlay.opaque", "trusted.overlay.opaque")
_OPEN = 96  # descriptors, as long as two folders of the way down can be open in each layer
_NAMES = 200_000  # of one folder in one layer that are looked at: all are held, and an agent can make millions
_MAX_PATH = 4095  # bytes; no path that is longer can be used anywhere


def changes_between(
    bases: Sequence[int], uppers: Sequence[int], prepared: frozenset[str], owners: Owners | None = None
) -> Iterator[Change]:
    """Walk open folders of layers, lowest first.

    ``prepared`` are absolute paths that were made for the sandbox: they and the folders that lead to them are not told, what is
    in them is. ``owners``: the machine's ids that the files in the uppers have; without it owners are not compared.
    Raises SandboxError in the end, with all the rest told, where a path was too long to be told, or a folder has too many names.
    """
    walk = _Walk(list(reversed(bases)), list(reversed(uppers)), prepared, owners)
    try:
        yield from walk.run()
    finally:
        walk.close()
    if walk.too_long:
        raise SandboxError(f"folders nested too deep to be listed: {_text(walk.too_long[:200])}...")
    if walk.too_many:
        raise SandboxError(f"more than {_NAMES} names in a folder: {_text(walk.too_many[:200])}")


@dataclass
class _Layers:
    """One folder in those layers in which it is one, the topmost first. Closed, the descriptors are gone, not the layers.

    ``of`` are the numbers of the layers; ``modes`` is what ``relock`` needs.
    """

    of: list[int]
    fds: list[int]
    modes: list[int]

    def close(self) -> None:
        for fd, mode in zip(self.fds, self.modes, strict=True):
            relock(fd, mode)
            os.close(fd)
        self.fds, self.modes = [], []


@dataclass
class _Folder:
    path: bytes
    bases: _Layers
    uppers: _Layers
    names: list[bytes]

    def close(self) -> None:
        self.bases.close()
        self.uppers.close()


class _Walk:
    def __init__(self, bases: list[int], uppers: list[int], prepared: frozenset[str], owners: Owners | None) -> None:
        self._tops = (bases, uppers)
        self._prepared = frozenset(posixpath.normpath(path) for path in prepared)
        self._leading = frozenset(above for path in self._prepared for above in _above(path))
        self._owners = owners
        self._way: list[_Folder] = []
        self._open = max(2, _OPEN // (len(bases) + len(uppers)))
        self.too_long = b""
        self.too_many = b""

    def close(self) -> None:
        for folder in self._way:
            folder.close()
        self._way = []

    def run(self) -> Iterator[Change]:
        bases, uppers = (self._reopen(list(range(len(tops))), tops, b"") for tops in self._tops)
        self._enter(b"", bases, uppers)
        while self._way:
            here = self._way[-1]
            if not here.names:
                self._way.pop().close()
                continue
            if not here.uppers.fds:
                here.bases = self._reopen(here.bases.of, self._tops[0], here.path)
                here.uppers = self._reopen(here.uppers.of, self._tops[1], here.path)
            yield from self._entry(here, here.names.pop())
            if len(self._way) > self._open:
                self._way[-1 - self._open].close()

    def _enter(self, path: bytes, bases: _Layers, uppers: _Layers) -> None:
        names: set[bytes] = set()
        for fd in uppers.fds:
            with os.scandir(fd) as entries:
                found = [os.fsencode(entry.name) for entry in islice(entries, _NAMES + 1)]
            names.update(found[:_NAMES])
            if len(found) > _NAMES:
                self.too_many = self.too_many or path or b"/"
        self._way.append(_Folder(path, bases, uppers, sorted(names, reverse=True)))

    @staticmethod
    def _reopen(numbers: list[int], tops: list[int], path: bytes) -> _Layers:
        """A folder that was closed on the way down, in the layers in which it still is one."""
        layers = _Layers([], [], [])
        for number in numbers:
            try:
                fd = open_below(tops[number], path.lstrip(b"/"))
            except OSError:
                continue  # it went while we looked
            layers.of.append(number)
            layers.fds.append(fd)
            layers.modes.append(unlock(fd))
        return layers

    def _entry(self, here: _Folder, name: bytes) -> Iterator[Change]:
        path = here.path + b"/" + name
        if len(path) > _MAX_PATH:
            self.too_long = self.too_long or path
            return
        first, found = _first(here.uppers.fds, name)
        if found is None:
            return  # it went while we looked
        before = _visible(here.bases.fds, name)
        if _is_whiteout(found):
            if before is not None:
                yield self._change(path, "deleted", before)
        elif stat.S_ISDIR(found.st_mode):
            yield from self._folder(here, name, first, found, before)
        elif before is not None:
            yield self._change(path, "modified", found)
        elif not (_text(path) in self._prepared and stat.S_ISREG(found.st_mode) and not found.st_size):
            yield self._change(path, "added", found)  # an empty file is what something was mounted on

    def _folder(
        self, here: _Folder, name: bytes, first: int, found: os.stat_result, before: os.stat_result | None
    ) -> Iterator[Change]:
        path = here.path + b"/" + name
        above, through = _open_all(here.uppers, first, name)
        hidden = _Layers([], [], [])
        try:
            if before is not None and stat.S_ISDIR(before.st_mode):
                hidden, _ = _open_all(here.bases, 0, name)
            text = _text(path)
            if before is None:
                if text not in self._prepared and text not in self._leading:
                    yield self._change(path, "added", found)
            elif text not in self._prepared and self._differs(before, found):
                yield self._change(path, "modified", found)
            if not through:
                kept = {os.fsencode(entry) for fd in above.fds for entry in os.listdir(fd)}
                for entry in sorted({os.fsencode(entry) for fd in hidden.fds for entry in os.listdir(fd)} - kept):
                    if (gone := _visible(hidden.fds, entry)) is not None:
                        yield self._change(path + b"/" + entry, "deleted", gone)
            self._enter(path, hidden, above)
            hidden, above = _Layers([], [], []), _Layers([], [], [])
        finally:
            hidden.close()
            above.close()

    def _differs(self, before: os.stat_result, found: os.stat_result) -> bool:
        return before.st_mode != found.st_mode or self._ids(before) != self._ids(found)

    def _ids(self, found: os.stat_result) -> tuple[int, int]:
        """The owner inside. Layers of images hold those ids as they are, what sandboxes wrote holds the machine's."""
        return self._inner(found.st_uid), self._inner(found.st_gid)

    def _inner(self, number: int) -> int:
        if self._owners is None:
            return 0
        return self._owners.inner(number) if self._owners.holds(number) else number

    def _change(self, path: bytes, kind: str, found: os.stat_result) -> Change:
        gone = kind == "deleted"
        uid, gid = (0, 0) if gone else self._ids(found)
        return Change(
            path=_text(path),
            kind=kind,
            type=_type(found.st_mode),
            size=found.st_size if stat.S_ISREG(found.st_mode) and not gone else 0,
            mode=0 if gone else found.st_mode & 0o7777,
            uid=uid,
            gid=gid,
        )


def _open_all(layers: _Layers, start: int, name: bytes) -> tuple[_Layers, bool]:
    """The folder ``name`` in each layer from ``start`` on until one hides what is below; whether nothing hid it."""
    opened = _Layers([], [], [])
    for number, layer in zip(layers.of[start:], layers.fds[start:], strict=True):
        found = _stat(layer, name)
        if found is None:
            continue
        if not stat.S_ISDIR(found.st_mode):
            return opened, False
        try:
            fd = open_subfolder(layer, name)
        except (FileNotFoundError, NotADirectoryError):
            continue  # it went while we looked
        opened.of.append(number)
        opened.fds.append(fd)
        opened.modes.append(unlock(fd))
        if _is_opaque(fd):
            return opened, False
    return opened, True


def _first(layers: list[int], name: bytes) -> tuple[int, os.stat_result | None]:
    """What stands at ``name`` in the topmost layer that has it, and which one that is."""
    for number, layer in enumerate(layers):
        if (found := _stat(layer, name)) is not None:
            return number, found
    return -1, None


def _visible(layers: list[int], name: bytes) -> os.stat_result | None:
    _, found = _first(layers, name)
    return None if found is None or _is_whiteout(found) else found


def _stat(layer: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=layer, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _is_opaque(fd: int) -> bool:
    for name in _OPAQUE:
        try:
            if os.getxattr(fd, name) == b"y":
                return True
        except OSError:
            continue
    return False


def _above(path: str) -> Iterator[str]:
    while (path := posixpath.dirname(path)) not in ("/", ""):
        yield path


def _type(mode: int) -> str:
    for check, name in (
        (stat.S_ISREG, "file"),
        (stat.S_ISDIR, "folder"),
        (stat.S_ISLNK, "link"),
        (stat.S_ISFIFO, "fifo"),
        (stat.S_ISSOCK, "socket"),
    ):
        if check(mode):
            return name
    return "device"


def _text(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
