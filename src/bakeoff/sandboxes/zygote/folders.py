"""The folders ``bakeoff-<token>`` of control groups: each is kept locked by the harness whose it is.

Whoever finds one that is not locked may sweep it away, whatever home or group that harness had.
"""

import errno
import fcntl
import os
import time

from . import places

PREFIX = "bakeoff-"
_DIGITS = 12
_PATIENCE = 1.0  # seconds in which what was killed has left its group
_AGAIN = 0.002  # seconds
_LOCK_TRIES = 50


def is_ours(name: str) -> bool:
    token = name.removeprefix(PREFIX)
    return token != name and len(token) == _DIGITS and not token.strip("0123456789abcdef")


def own(path: str) -> int:
    """Make the folder, and lock it for as long as the descriptor is open here or in a child. Raises OSError."""
    for _ in range(_LOCK_TRIES):
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            pass
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # swept away in between
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_ino == os.stat(path).st_ino:
                return fd
        except (BlockingIOError, FileNotFoundError):
            time.sleep(_AGAIN)
        os.close(fd)
    raise BlockingIOError(errno.EAGAIN, "another holds the lock of this group")


def sweep(top: str = "") -> int:
    """Remove the groups of harnesses that are dead, wherever they stand and as far as permitted; how many harnesses that were.

    ``top`` is one mounted hierarchy; all of those that limit or count are looked through where it is not given.
    """
    tops = (
        [top]
        if top
        else [mount.point for mount in places.mounts(places.read("/proc/self/mountinfo")) if _counts(mount)]
    )
    tokens: set[str] = set()
    deadline = time.monotonic() + _PATIENCE
    for path in [path for mounted in tops for path in _ours_below(mounted)]:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if remove(fd, path, deadline):
                tokens.add(path.rpartition("/")[2])
        except BlockingIOError:
            pass  # its harness lives
        finally:
            os.close(fd)
    return len(tokens)


def _counts(mount: places.Mount) -> bool:
    return mount.kind == "cgroup2" or not mount.options.isdisjoint((*places.WANTED, "cpuacct"))


def _ours_below(top: str) -> list[str]:
    """The folders of harnesses at any depth. A group with no groups in it has two links, which spares most of the reading."""
    found: list[str] = []
    todo = [top]
    while todo:
        folder = todo.pop()
        try:
            if os.stat(folder).st_nlink == 2:
                continue
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            for name in _inner(fd):
                (found if is_ours(name) else todo).append(f"{folder}/{name}")
        finally:
            os.close(fd)
    return found


def _inner(fd: int) -> list[str]:
    try:
        with os.scandir(fd) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []  # it went away meanwhile


def remove(fd: int, path: str, deadline: float) -> bool:
    """Remove the open folder ``fd``, once at ``path``, whatever may be mounted over that by now. As ``clear`` does."""
    parent = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    try:
        return clear(parent, path.rpartition("/")[2], deadline)
    finally:
        os.close(parent)


def clear(parent: int, name: str, deadline: float) -> bool:
    """Remove a group and all in it, those within first; whether it is gone. What is dying is waited for until the deadline."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
    except OSError as error:
        return error.errno == errno.ENOENT
    try:
        for inner in _inner(fd):
            clear(fd, inner, deadline)
    finally:
        os.close(fd)
    while True:
        try:
            os.rmdir(name, dir_fd=parent)
            return True
        except OSError as error:
            if error.errno == errno.ENOENT:
                return True
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                return False
        time.sleep(_AGAIN)


def write(path: str, value: str, folder: int | None = None) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
