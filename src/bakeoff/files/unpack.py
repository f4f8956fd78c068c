"""A tar stream into a folder, through descriptors: whatever links stand there, nothing outside the folder is written."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from bakeoff.files import inside, tar
from bakeoff.files.owners import Owners
from bakeoff.files.remove import remove
from bakeoff.files.streams import write_sparsely

_TRIES = 20  # to take a name that code inside may be taking at the same time
_LAST_SECOND = 1 << 40  # far beyond what any file system keeps
T = TypeVar("T")


class Unpacker:
    """Writes members below the open folder ``folder`` as they come. Devices and FIFOs are left out.

    A name that is there already is replaced, but that a folder stays where one comes; no file that is there is ever opened. A
    member whose path leads through a link of the folder's is resolved below ``folder`` alone: nothing else can be reached, by
    hard links neither. File systems that the kernel makes up are not written to.

    Modes are those of the tar, setuid and the like with them: what they give is worth something to the owner's id alone.
    ``owners`` says whose ids the tar names; without it whoever unpacks owns all. Times before 1970 and 1970 itself are
    not kept. ``top``: a member that is ``folder`` itself changes its mode and owner. ``max_bytes`` bounds the data.
    """

    def __init__(
        self, folder: int, *, owners: Owners | None = None, top: bool = False, max_bytes: int | None = None
    ) -> None:
        self._folder = folder
        self._owners = owners
        self._top = top
        self._room = max_bytes
        self._parser = tar.Parser()
        self._file = -1
        self._left = 0
        self._member = tar.Member(name=b"")
        self._parent: tuple[bytes, int] = (b"", -1)
        self._folders: list[tuple[bytes, tuple[int, int], int, int]] = []

    def feed(self, data: bytes) -> None:
        """Raises TarError, and OSError from the file system."""
        for member, piece in self._parser.feed(data):
            if member is not None:
                self._begin(member)
            elif piece is not None:
                self._write(piece)

    def finish(self) -> None:
        """The stream has ended: folders get their modes, so that one that forbids writing could still be filled."""
        self._parser.close()
        for name, identity, mode, mtime in reversed(self._folders):
            try:
                fd = inside.open_inside(self._folder, name, inside.FOLDER | os.O_NOFOLLOW)
            except OSError:
                continue  # replaced meanwhile by code that runs there
            try:
                found = os.fstat(fd)
                if (found.st_dev, found.st_ino) == identity and not inside.is_of_the_kernel(fd):
                    _set_time(fd, mtime)
                    os.fchmod(fd, mode)
            finally:
                os.close(fd)

    def close(self) -> None:
        for fd in (self._file, self._parent[1]):
            if fd >= 0:
                os.close(fd)
        self._file, self._parent = -1, (b"", -1)

    def _begin(self, member: tar.Member) -> None:
        parts = inside.parts_of(member.name)
        if member.kind == tar.FOLDER:
            self._make_folder(parts, member)
        elif not parts:
            raise tar.TarError(f"a member named {member.name!r} is no folder")
        elif member.kind == tar.FILE:
            self._open_file(parts, member)
        elif member.kind == tar.LINK:
            self._make_link(parts, member)
        elif member.kind == tar.HARD_LINK:
            self._link(parts, member)

    def _parent_of(self, parts: list[bytes]) -> int:
        name = b"/".join(parts[:-1])
        if self._parent[1] < 0 or self._parent[0] != name:
            fd = inside.open_folder(self._folder, name)
            if inside.is_of_the_kernel(fd):
                os.close(fd)
                raise OSError(
                    errno.EPERM, "a file system that the kernel makes up is not written to", os.fsdecode(name)
                )
            if self._parent[1] >= 0:
                os.close(self._parent[1])
            self._parent = (name, fd)
        return self._parent[1]

    def _make_folder(self, parts: list[bytes], member: tar.Member) -> None:
        if parts:
            fd = _folder_at(self._parent_of(parts), parts[-1])
        elif self._top:
            fd = os.dup(self._folder)
        else:
            return
        try:
            found = os.fstat(fd)
            self._folders.append((b"/".join(parts), (found.st_dev, found.st_ino), member.mode, member.mtime))
            if self._owners is not None:
                os.fchown(fd, self._owners.outer(member.uid), self._owners.outer(member.gid))
        finally:
            os.close(fd)

    def _open_file(self, parts: list[bytes], member: tar.Member) -> None:
        if self._room is not None:
            self._room -= member.size
            if self._room < 0:
                raise OSError(errno.EFBIG, "more bytes than allowed", os.fsdecode(member.name))
        parent = self._parent_of(parts)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = _take(parent, parts[-1], lambda name: os.open(name, flags, 0o600, dir_fd=parent))
        if self._owners is not None:
            os.fchown(self._file, self._owners.outer(member.uid), self._owners.outer(member.gid))
        self._left, self._member = member.size, member
        if not self._left:
            self._end_file()

    def _write(self, piece: bytes) -> None:
        write_sparsely(self._file, piece)
        self._left -= len(piece)
        if not self._left:
            os.ftruncate(self._file, self._member.size)
            self._end_file()

    def _end_file(self) -> None:
        _set_time(self._file, self._member.mtime)
        os.fchmod(self._file, self._member.mode)
        os.close(self._file)
        self._file = -1

    def _make_link(self, parts: list[bytes], member: tar.Member) -> None:
        parent = self._parent_of(parts)
        _take(parent, parts[-1], lambda name: os.symlink(member.target, name, dir_fd=parent))
        if self._owners is None or not (member.uid or member.gid):
            return
        # By its descriptor: the name may be something else by now, whose owner is not ours to change.
        fd = os.open(parts[-1], os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            if stat.S_ISLNK(os.fstat(fd).st_mode):
                os.chown(f"/proc/self/fd/{fd}", self._owners.outer(member.uid), self._owners.outer(member.gid))
        finally:
            os.close(fd)

    def _link(self, parts: list[bytes], member: tar.Member) -> None:
        source = inside.parts_of(member.target)
        if not source:
            raise tar.TarError(f"a hard link to {member.target!r}")
        there = inside.open_inside(self._folder, b"/".join(source[:-1]), inside.FOLDER)
        try:
            if not stat.S_ISREG(os.stat(source[-1], dir_fd=there, follow_symlinks=False).st_mode):
                raise tar.TarError(f"a hard link to {member.target!r}, which is no file")
            parent = self._parent_of(parts)
            if source != parts:
                _take(
                    parent,
                    parts[-1],
                    lambda name: os.link(source[-1], name, src_dir_fd=there, dst_dir_fd=parent, follow_symlinks=False),
                )
        finally:
            os.close(there)


def _folder_at(parent: int, name: bytes) -> int:
    """Open the folder that stands at ``name``, or one made in place of whatever else does."""
    try:
        return inside.open_subfolder(parent, name)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        remove(parent, name)
    inside.make_folder(parent, name, 0o755)
    return inside.open_subfolder(parent, name)


def _take(parent: int, name: bytes, make: Callable[[bytes], T]) -> T:
    """Make something at ``name``, in place of what stands there: a folder goes with all below it."""
    for _ in range(_TRIES):
        with inside.writable(parent), suppress(FileExistsError):
            return make(name)
        remove(parent, name)
    with inside.writable(parent):
        return make(name)


def _set_time(fd: int, mtime: int) -> None:
    if 0 < mtime < _LAST_SECOND:
        os.utime(fd, (mtime, mtime))
