"""Paths inside a root that somebody else may be changing: nothing outside it is ever reached.

A root is an open descriptor of a folder. The kernel resolves every path in it with ``openat2``: an absolute link starts
at the root, ``..`` stops there, and the magic links of /proc are refused.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
from collections.abc import Generator
from contextlib import contextmanager

_OPENAT2 = 437  # the same number on every architecture
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH, _RESOLVE_IN_ROOT = 0x02, 0x04, 0x08, 0x10
_IN_ROOT = _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS
_EAGAIN_TRIES = 100
_OF_THE_KERNEL = frozenset({
    0x9FA0, 0x62656572, 0x63677270, 0x27E0EB, 0x64626720, 0x74726163, 0x73636673, 0xCAFE4A11, 0x62656570, 0x1CD1,
    0x42494E4D, 0x6165676C, 0xDE5E81E4, 0x19800202, 0x50495045, 0x534F434B,
})  # fmt: skip
"""proc, sysfs, cgroup, cgroup2, debugfs, tracefs, securityfs, bpf, configfs, devpts, binfmt_misc, pstore, efivarfs, mqueue, pipes,
sockets: the numbers of linux/magic.h."""
_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def open_inside(root: int, path: str | bytes, flags: int, mode: int = 0) -> int:
    """Open ``path`` as a process whose root folder is ``root`` would. Raises OSError as ``os.open`` does.

    Root inside enters folders whatever their modes are. An ordinary user outside, who owns them, must allow that to himself
    first: folders on the way that are closed to their owner are opened to him.
    """
    name = os.fsencode(path) or b"."
    if b"\0" in name:
        raise ValueError("a path cannot hold a zero byte")
    try:
        return _open(root, name, flags, mode)
    except PermissionError:
        if not os.geteuid() or not _unlock_way(root, parts_of(name)):
            raise
    return _open(root, name, flags, mode)


def open_below(top: int, path: bytes) -> int:
    """Open a folder below the open folder ``top``; a link anywhere on the way is an error."""
    return _open(top, path or b".", FOLDER, 0, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS)


def _open(root: int, name: bytes, flags: int, mode: int, resolve: int = _IN_ROOT) -> int:
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, resolve)
    for _ in range(_EAGAIN_TRIES):
        fd = _syscall(_OPENAT2, root, name, how, len(how))
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number != errno.EAGAIN:  # a rename went on somewhere at the same time
            raise OSError(number, os.strerror(number), os.fsdecode(name))
    raise OSError(errno.EAGAIN, "the folders are renamed without end", os.fsdecode(name))


def _unlock_way(root: int, parts: list[bytes]) -> bool:
    """Open the folders that lead to ``parts``, and what stands there if it is one, to their owner; whether any was closed."""
    changed = _unlock_one(root)
    for end in range(1, len(parts) + 1):
        try:
            folder = _open(root, b"/".join(parts[:end]), os.O_PATH | os.O_DIRECTORY, 0)
        except OSError:
            break
        try:
            changed |= _unlock_one(folder)
        finally:
            os.close(folder)
    return changed


def _unlock_one(folder: int) -> bool:
    found = os.fstat(folder)
    if found.st_mode & 0o700 == 0o700 or found.st_uid != os.geteuid():
        return False
    os.chmod(f"/proc/self/fd/{folder}", found.st_mode & 0o7777 | 0o700)  # O_PATH descriptors take no fchmod
    return True


def is_of_the_kernel(fd: int) -> bool:
    """Whether a file or folder belongs to a file system that shows the kernel's own state, /proc or /sys for instance.

    What looks like a file there can wait for ever, have no end, or change the machine when it is written.
    """
    buffer = ctypes.create_string_buffer(256)
    if _libc.fstatfs(fd, buffer) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int.from_bytes(buffer.raw[: struct.calcsize("l")], sys.byteorder) in _OF_THE_KERNEL


def parts_of(path: str | bytes) -> list[bytes]:
    """The names in a path, without empty ones and ``.``; ``..`` takes the one before away, and nothing at the start."""
    out: list[bytes] = []
    for part in os.fsencode(path).split(b"/"):
        if part == b"..":
            out = out[:-1]
        elif part not in (b"", b"."):
            out.append(part)
    return out


def open_folder(root: int, path: str | bytes, *, mode: int = 0o755) -> int:
    """Open the folder at ``path``, making what is missing. A name that is no folder raises NotADirectoryError."""
    try:
        return open_inside(root, path, FOLDER)
    except FileNotFoundError:
        pass
    parts = parts_of(path)
    found, here = _deepest(root, parts)
    try:
        for end in range(found, len(parts)):
            make_folder(here, parts[end], mode)
            there = open_inside(root, b"/".join(parts[: end + 1]), FOLDER)
            os.close(here)
            here = there
        return os.dup(here)
    finally:
        os.close(here)


def _deepest(root: int, parts: list[bytes]) -> tuple[int, int]:
    """How many of the names lead to a folder that is there, and that folder; looked for from the end, where it mostly is."""
    for count in range(len(parts) - 1, 0, -1):
        try:
            return count, open_inside(root, b"/".join(parts[:count]), FOLDER)
        except FileNotFoundError:
            continue
    return 0, os.dup(root)


def make_folder(parent: int, name: bytes, mode: int) -> None:
    """Make a folder with exactly this mode, whatever the umask."""
    with writable(parent):
        os.mkdir(name, 0o700, dir_fd=parent)
        fd = os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=parent)
        try:
            os.fchmod(fd, mode)
        finally:
            os.close(fd)


def open_regular(parent: int, name: str | bytes) -> int | None:
    """Open a regular file of the open folder ``parent`` for reading; None for anything else, which is never opened."""
    pin = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        found = os.fstat(pin)
        if not stat.S_ISREG(found.st_mode):
            return None
        path = f"/proc/self/fd/{pin}"
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            return os.open(path, flags)
        except PermissionError:
            # Inside, root reads its files whatever their mode is; outside, an ordinary user must say so first.
            os.chmod(path, found.st_mode & 0o7777 | 0o400)
            try:
                return os.open(path, flags)
            finally:
                os.chmod(path, found.st_mode & 0o7777)
    finally:
        os.close(pin)


def open_subfolder(parent: int, name: str | bytes) -> int:
    """Open a folder of the open folder ``parent``, never through a link, whatever its mode."""
    try:
        return os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=parent)
    except PermissionError:
        pin = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        path = f"/proc/self/fd/{pin}"
        mode = os.fstat(pin).st_mode & 0o7777
        os.chmod(path, mode | 0o700)
        try:
            return os.open(path, FOLDER)
        finally:
            os.chmod(path, mode)
    finally:
        os.close(pin)


def unlock(folder: int) -> int:
    """Let the owner list, enter and change an open folder whose mode forbids it; what ``relock`` needs to undo that.

    Inside, root does so whatever the mode is; outside, only root does, and an ordinary user who owns the folder must ask.
    """
    found = os.fstat(folder)
    mode = found.st_mode & 0o7777
    if mode & 0o700 == 0o700 or not os.geteuid() or found.st_uid != os.geteuid():
        return -1
    os.fchmod(folder, mode | 0o700)
    return mode


def relock(folder: int, mode: int) -> None:
    if mode >= 0:
        os.fchmod(folder, mode)


@contextmanager
def writable(folder: int) -> Generator[None]:
    """Unlock an open folder for the time of the block."""
    mode = unlock(folder)
    try:
        yield
    finally:
        relock(folder, mode)
