"""A small root copied with its owners shifted, for file systems that do not map owners in a mount (overlay, nfs, old kernels)."""

import errno
import os
import stat

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 1 << 20
_DEPTH = 200


class TooLarge(OSError):
    """More than the copy may hold."""


def copy(source: str, target: str, base: int, count: int, room: int) -> None:
    """Copy folders, files and links from ``source`` into the empty folder ``target``, at most ``room`` bytes and entries of 1 KiB.

    An owner N becomes ``base`` + N; one that is not below ``count`` becomes the last. Raises TooLarge.
    """
    above = os.open(source, _FOLDER)
    below = os.open(target, _FOLDER)
    try:
        _Copy(base, count, room).folder(above, below, 0)
    finally:
        os.close(above)
        os.close(below)


class _Copy:
    def __init__(self, base: int, count: int, room: int) -> None:
        self.base = base
        self.count = count
        self.room = room

    def owner(self, number: int) -> int:
        return self.base + min(number, self.count - 1)

    def take(self, size: int) -> None:
        self.room -= size
        if self.room < 0:
            raise TooLarge(errno.EFBIG, "too large to copy")

    def folder(self, source: int, target: int, depth: int) -> None:
        if depth > _DEPTH:
            raise TooLarge(errno.ENAMETOOLONG, "too deep to copy")
        found = os.fstat(source)
        for name in os.listdir(source):
            self.entry(source, target, name, depth)
        os.fchown(target, self.owner(found.st_uid), self.owner(found.st_gid))
        os.fchmod(target, stat.S_IMODE(found.st_mode))

    def entry(self, source: int, target: int, name: str, depth: int) -> None:
        found = os.stat(name, dir_fd=source, follow_symlinks=False)
        self.take(1024)
        if stat.S_ISDIR(found.st_mode):
            os.mkdir(name, 0o700, dir_fd=target)
            above = os.open(name, _FOLDER, dir_fd=source)
            below = os.open(name, _FOLDER, dir_fd=target)
            try:
                self.folder(above, below, depth + 1)
            finally:
                os.close(above)
                os.close(below)
        elif stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            owner = self.owner(found.st_uid), self.owner(found.st_gid)
            os.chown(name, *owner, dir_fd=target, follow_symlinks=False)
        elif stat.S_ISREG(found.st_mode):
            self.file(source, target, name)

    def file(self, source: int, target: int, name: str) -> None:
        read = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
        write = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            found = os.fstat(read)
            while piece := os.read(read, _PIECE):
                self.take(len(piece))
                os.write(write, piece)
            os.fchown(write, self.owner(found.st_uid), self.owner(found.st_gid))
            os.fchmod(write, stat.S_IMODE(found.st_mode))  # after the owner, which takes setuid bits away
        finally:
            os.close(read)
            os.close(write)
