"""A file or a folder as a tar stream, through descriptors: links are not followed, FIFOs and devices never opened."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import islice

from bakeoff.files import inside, tar
from bakeoff.files.owners import Owners

_CHUNK = 1 << 18
# A folder became a link or a link a folder, or went elsewhere, while we looked.
_RACES = frozenset((errno.ELOOP, errno.EINVAL, errno.ESTALE, errno.EXDEV))
_OPEN = 64  # folders on the way down that are held open
_MAX_PATH = 4095  # bytes; no path that is longer can be used anywhere


class TooMuch(OSError):
    """There are more bytes, or longer paths, than were asked for."""


def pack(root: int, path: str | bytes, *, max_bytes: int, owners: Owners | None = None) -> Generator[bytes]:
    """The stream, piece by piece; every name begins with the base name of ``path``, where it has one.

    A file of several names is there under each as a file of its own: so every part of the stream is whole by itself, and a
    reader need not make links. ``owners`` says whose ids the files have; without it all belong to root. What belongs to nobody
    of theirs and is not for everyone to read is left out, as are the file systems that the kernel makes up.

    ``max_bytes`` bounds the sum of the files' sizes and of the headers; a sparse file counts, and is read, with its whole
    size. Raises FileNotFoundError where nothing is at ``path``, and TooMuch past the bound, before the file that exceeds it.
    """
    pin = inside.open_inside(root, path, os.O_PATH)
    packer = _Packer(max_bytes, owners)
    try:
        found = os.fstat(pin)
        parts = inside.parts_of(path)
        if inside.is_of_the_kernel(pin):
            raise OSError(errno.EINVAL, "a file system that the kernel makes up cannot be copied", os.fsdecode(path))
        if stat.S_ISDIR(found.st_mode):
            folder = _open_pinned(pin, inside.FOLDER)
            os.close(pin)
            pin = folder
            yield from packer.folder(pin, parts[-1] + b"/" if parts else b"")
        elif stat.S_ISREG(found.st_mode) and packer.may_read(found):
            fd = _open_pinned(pin, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            yield from packer.file(fd, parts[-1] if parts else b"file")
    finally:
        os.close(pin)
    yield packer.rest() + tar.END


def _open_pinned(pin: int, flags: int) -> int:
    """Open what ``pin`` holds, and nothing else that may have taken its name since."""
    path = f"/proc/self/fd/{pin}"
    try:
        return os.open(path, flags)
    except PermissionError:
        # Inside, root reads its files whatever their mode is; outside, an ordinary user must say so first.
        mode = os.fstat(pin).st_mode & 0o7777
        os.chmod(path, mode | 0o500)
        try:
            return os.open(path, flags)
        finally:
            os.chmod(path, mode)


@dataclass
class _Folder:
    """One on the way down: its member, whose name is what its names begin with, these last first, and the mode it must get back.

    ``fd`` is -1 while it is closed: only so many are held open at once.
    """

    member: tar.Member
    fd: int
    device: int
    names: list[str]
    mode: int

    @property
    def prefix(self) -> bytes:
        return self.member.name


class _Packer:
    def __init__(self, room: int, owners: Owners | None) -> None:
        self._room = room
        self._owners = owners
        self._ready: list[bytes] = []
        self._size = 0

    def may_read(self, found: os.stat_result) -> bool:
        """Whether code inside could be allowed to. The harness as root could read what shows there of the machine, too."""
        return (
            self._owners is None
            or self._owners.holds(found.st_uid)
            or found.st_mode & (0o005 if stat.S_ISDIR(found.st_mode) else 0o004) != 0
        )

    def folder(self, top: int, name: bytes) -> Iterator[bytes]:
        """``name`` is put before every path, and has a member of its own where it is not empty."""
        found = os.fstat(top)
        member = self._member(name, tar.FOLDER, found)
        way = [self._list(member, os.dup(top), found)] if self.may_read(found) else []
        try:
            if name:
                yield from self._add(member)
            while way:
                here = way[-1]
                if here.fd < 0 and (here.names or here.mode >= 0):
                    here.fd = _reopen(top, here.prefix[len(name) :])
                if here.fd < 0 or not here.names:
                    _close(way.pop())
                    continue
                raw = os.fsencode(here.names.pop())
                try:
                    entry = self._look(here, raw)
                except (FileNotFoundError, NotADirectoryError, PermissionError):
                    continue  # it went, or changed its kind, while we looked
                except OSError as error:
                    if isinstance(error, TooMuch) or error.errno not in _RACES:
                        raise
                    continue
                if isinstance(entry, _Folder):
                    way.append(entry)
                    if len(way) > _OPEN and (far := way[-1 - _OPEN]).fd >= 0:
                        os.close(far.fd)
                        far.fd = -1
                    yield from self._add(entry.member)
                elif isinstance(entry, tar.Member):
                    yield from self._add(entry)
                elif entry is not None:
                    yield from self.file(entry, here.prefix + raw)
                else:
                    self._take(tar.BLOCK, here.prefix + raw)  # it takes as long as what has a header
        finally:
            for here in reversed(way):
                _close(here)

    def _look(self, here: _Folder, raw: bytes) -> _Folder | tar.Member | int | None:
        """What stands at a name: a folder to go into, a member without data, or the descriptor of a file."""
        name = here.prefix + raw
        if len(name) >= _MAX_PATH:
            raise TooMuch(errno.ENAMETOOLONG, f"a path longer than {_MAX_PATH} bytes", os.fsdecode(name[:100] + b"..."))
        found = os.stat(raw, dir_fd=here.fd, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            fd = inside.open_subfolder(here.fd, raw)
            try:
                found = os.fstat(fd)
                member = self._member(name + b"/", tar.FOLDER, found)
                if self.may_read(found) and not (found.st_dev != here.device and inside.is_of_the_kernel(fd)):
                    folder = self._list(member, fd, found)
                    fd = -1
                    return folder
                return member
            finally:
                if fd >= 0:
                    os.close(fd)
        if stat.S_ISLNK(found.st_mode):
            return self._member(name, tar.LINK, found, os.readlink(raw, dir_fd=here.fd))
        if stat.S_ISREG(found.st_mode) and self.may_read(found):
            return inside.open_regular(here.fd, raw)
        return None

    def file(self, fd: int, name: bytes) -> Iterator[bytes]:
        """A file with the size it has now: what is added meanwhile is left out, what goes is zeros."""
        try:
            found = os.fstat(fd)
            if not self.may_read(found):
                return
            self._take(found.st_size, name)
            yield from self._add(self._member(name, tar.FILE, found))
            left = found.st_size
            while left:
                piece = os.read(fd, min(left, _CHUNK)) or bytes(min(left, _CHUNK))
                left -= len(piece)
                yield from self._put(piece)
            yield from self._put(tar.padding(found.st_size))
        finally:
            os.close(fd)

    def rest(self) -> bytes:
        data = b"".join(self._ready)
        self._ready, self._size = [], 0
        return data

    def _add(self, member: tar.Member) -> Iterator[bytes]:
        header = tar.header(member)
        self._take(len(header), member.name)
        yield from self._put(header)

    def _take(self, size: int, name: bytes) -> None:
        self._room -= size
        if self._room < 0:
            raise TooMuch(errno.EFBIG, "more bytes than allowed", os.fsdecode(name))

    def _list(self, member: tar.Member, fd: int, found: os.stat_result) -> _Folder:
        """The folder with its names, of which there are no more than there is room for: an agent can make millions."""
        mode = inside.unlock(fd)
        most = self._room // tar.BLOCK
        try:
            with os.scandir(fd) as entries:
                names = [entry.name for entry in islice(entries, most + 1)]
            if len(names) > most:
                raise TooMuch(errno.EFBIG, "more names than allowed", os.fsdecode(member.name))
            return _Folder(member, fd, found.st_dev, sorted(names, reverse=True), mode)
        except OSError:
            inside.relock(fd, mode)
            raise

    def _put(self, data: bytes) -> Iterator[bytes]:
        self._ready.append(data)
        self._size += len(data)
        if self._size >= _CHUNK:
            yield self.rest()

    def _member(self, name: bytes, kind: bytes, found: os.stat_result, target: bytes | str = b"") -> tar.Member:
        owners = self._owners
        return tar.Member(
            name=name,
            kind=kind,
            mode=found.st_mode & 0o7777,
            size=found.st_size if kind == tar.FILE else 0,
            target=os.fsencode(target),
            uid=0 if owners is None else owners.inner(found.st_uid),
            gid=0 if owners is None else owners.inner(found.st_gid),
            mtime=int(found.st_mtime),
        )


def _reopen(top: int, path: bytes) -> int:
    """A folder that was closed on the way down; -1 where it is no longer there."""
    try:
        return inside.open_below(top, path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, *_RACES):
            return -1
        raise


def _close(folder: _Folder) -> None:
    if folder.fd >= 0:
        inside.relock(folder.fd, folder.mode)
        os.close(folder.fd)
