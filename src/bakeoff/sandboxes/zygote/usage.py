"""How much of the disk a sandbox holds, as a child of the zygote counts it: its rights reach every file, whatever its mode.

Nothing outside the folder is looked at: folders are opened from descriptors, links and other file systems are left alone.
"""

import os
import socket
import time

from . import syscalls as sys_
from . import wire

_OPEN_LEVELS = 100  # folders that are held open at once; what lies deeper is left by its ``..``
_CLOCK_EVERY = 512  # entries
_TYPE, _FOLDER, _FILE = 0o170000, 0o040000, 0o100000
_BLOCK = 512  # bytes, of ``st_blocks`` on every file system
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_IN_MEMORY = frozenset((0x01021994, 0x858458F6))  # tmpfs, ramfs: no part of the disk


class Count:
    """What was found so far. ``whole`` is False where the count was ended early: then it holds at least this much.

    ``entries`` are names, so that more names of one file are counted, which bounds the time; its blocks are counted once.
    """

    def __init__(self, most_bytes: int, most_entries: int, deadline: float) -> None:
        self.bytes = 0
        self.entries = 0
        self.whole = True
        self._most_bytes = most_bytes
        self._most_entries = most_entries
        self._deadline = deadline
        self._known: set[tuple[int, int]] = set()  # files that have several names, or none

    def add(self, found: os.stat_result) -> None:
        self.entries += 1
        if found.st_nlink != 1 and found.st_mode & _TYPE != _FOLDER:
            key = (found.st_dev, found.st_ino)
            if key in self._known:
                return
            self._known.add(key)
        self.bytes += found.st_blocks * _BLOCK

    def enough(self) -> bool:
        """Whether to stop: the answer is known, or the time is over."""
        if self.bytes > self._most_bytes or self.entries > self._most_entries:
            self.whole = False
        elif self.entries % _CLOCK_EVERY == 0:
            return self.late()
        else:
            return False
        return True

    def late(self) -> bool:
        """Whether the time is over."""
        if time.monotonic() <= self._deadline:
            return False
        self.whole = False
        self._most_entries = -1  # no further look at the clock: it is over
        return True


class _Level:
    """A folder on the way down: its descriptor (-1: closed meanwhile), its identity, and the folders in it still to visit."""

    def __init__(self, fd: int, device: int, count: Count) -> None:
        self.fd = fd
        self.inode = os.fstat(fd).st_ino
        self.todo: list[str] = []
        with os.scandir(fd) as entries:
            for entry in entries:
                try:
                    found = entry.stat(follow_symlinks=False)
                except OSError:
                    continue  # it went while we looked
                if found.st_dev != device:
                    continue
                count.add(found)
                if count.enough():
                    return
                if found.st_mode & _TYPE == _FOLDER:
                    self.todo.append(entry.name)


def add_tree(top: int, count: Count) -> None:
    """Count all that lies below the open folder ``top``, and itself. Code inside may change it meanwhile."""
    found = os.fstat(top)
    count.add(found)
    levels = [_Level(os.dup(top), found.st_dev, count)]
    try:
        while levels and not count.enough():
            here = levels[-1]
            if not here.todo:
                levels.pop()
                _leave(here, levels, count)
                continue
            try:
                below = os.open(here.todo.pop(), _OPEN, dir_fd=here.fd)
            except OSError:
                continue  # it went, or is no folder any more
            try:
                levels.append(_Level(below, found.st_dev, count))
            except OSError:
                os.close(below)
                count.whole = False
                continue
            if len(levels) > _OPEN_LEVELS:
                os.close(here.fd)
                here.fd = -1
    finally:
        for level in levels:
            if level.fd >= 0:
                os.close(level.fd)


def _leave(left: _Level, levels: list[_Level], count: Count) -> None:
    """Go on in the folder above the one left. One that was moved meanwhile is not followed: its open ancestor goes on."""
    if levels and levels[-1].fd < 0:
        fd = -1
        try:
            fd = os.open("..", _OPEN, dir_fd=left.fd)
            if os.fstat(fd).st_ino == levels[-1].inode:
                levels[-1].fd = fd
        except OSError:
            pass
        if levels[-1].fd < 0:
            count.whole = False
            if fd >= 0:
                os.close(fd)
            while levels[-1].fd < 0:
                levels.pop()
    os.close(left.fd)


def add_nameless(pids: list[int], count: Count) -> None:
    """Count the files that these processes hold open, or mapped where that can be seen, and that have no name any more."""
    for pid in pids:
        for kind in ("fd", "map_files"):
            try:
                held = os.listdir(f"/proc/{pid}/{kind}")
            except OSError:
                continue  # it has ended
            for number, name in enumerate(held):
                if number % _CLOCK_EVERY == 0 and count.late():
                    return
                path = f"/proc/{pid}/{kind}/{name}"
                try:
                    found = os.stat(path)
                    if found.st_nlink or found.st_mode & _TYPE != _FILE or sys_.file_system(path) in _IN_MEMORY:
                        continue
                except OSError:
                    if kind == "map_files":
                        break  # an ordinary user may list them, and no more
                    continue
                count.add(found)
                if count.enough():
                    return


def answer(sock: socket.socket, message: wire.Message, folder: str, pids: list[int]) -> None:
    """Count, and tell the harness."""
    count = Count(message["most_bytes"], message["most_entries"], time.monotonic() + message["within"])
    try:
        top = os.open(folder, _OPEN)
        add_tree(top, count)
        if not count.enough():
            add_nameless(pids, count)
        reply = {"bytes": count.bytes, "entries": count.entries, "whole": count.whole}
    except OSError as error:
        reply = {"error": f"cannot measure it: {error}"}
    wire.send(sock, {**reply, "id": message["id"]})
