"""Removal of whatever stands at a name, however deep, closed or busy it is; no link is followed."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from bakeoff.files.inside import FOLDER, open_subfolder, unlock, writable

_OPEN = 32  # folders on the way down that are held open
_AGAIN = 100  # folders that may have been filled anew meanwhile
_TRIES = 20  # from the top, where folders change their places meanwhile
_MOVED = frozenset((errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ESTALE, errno.ELOOP))


def remove(parent: int, name: str | bytes) -> None:
    """Remove what stands at ``name`` in the open folder ``parent``, with all below it. Nothing there is no error.

    Others may be at work there: code in a sandbox, or the kernel that still ends an overlay. What goes or comes meanwhile
    is no error; what cannot be emptied after some tries raises OSError, and so does a mount point, once it is empty.
    """
    name = os.fsencode(name)
    for attempt in range(_TRIES):
        try:
            with writable(parent):
                _Removal(parent).run(name)
            return
        except OSError as error:
            if error.errno not in _MOVED or attempt == _TRIES - 1:
                raise


def remove_path(path: str | os.PathLike[str]) -> None:
    """``remove`` for a path outside any root."""
    above, name = os.path.split(os.path.abspath(path))
    try:
        parent = os.open(above, FOLDER)
    except FileNotFoundError:
        return
    try:
        remove(parent, name)
    finally:
        os.close(parent)


@dataclass
class _Folder:
    """One on the way down. ``fd`` is -1 while it is closed; ``identity`` tells whether what is found again is the same."""

    name: bytes
    fd: int
    identity: tuple[int, int]
    names: list[str]


class _Removal:
    def __init__(self, parent: int) -> None:
        self._parent = parent
        self._way: list[_Folder] = []
        self._again = 0

    def run(self, name: bytes) -> None:
        try:
            self._take(name)
            while self._way:
                last = self._way[-1]
                if last.names:
                    self._take(os.fsencode(last.names.pop()))
                else:
                    self._leave()
        finally:
            for folder in self._way:
                if folder.fd >= 0:
                    os.close(folder.fd)

    def _above(self) -> int:
        return self._way[-1].fd if self._way else self._parent

    def _take(self, name: bytes) -> None:
        """Remove what is no folder; step into what is one."""
        try:
            os.unlink(name, dir_fd=self._above())
            return
        except FileNotFoundError:
            return
        except IsADirectoryError:
            refused = None
        except PermissionError as error:
            refused = error
        try:
            fd = open_subfolder(self._above(), name)
        except FileNotFoundError:
            return
        except NotADirectoryError as error:
            raise refused or error from None
        found = os.fstat(fd)
        self._way.append(_Folder(name, fd, (found.st_dev, found.st_ino), []))
        unlock(fd)  # for good: it is about to go
        self._way[-1].names = os.listdir(fd)
        if len(self._way) > _OPEN and (above := self._way[-1 - _OPEN]).fd >= 0:
            os.close(above.fd)
            above.fd = -1

    def _leave(self) -> None:
        folder = self._way[-1]
        if len(self._way) > 1 and self._way[-2].fd < 0:
            self._way[-2].fd = self._reopen(folder.fd, self._way[-2])
        self._way.pop()
        try:
            os.rmdir(folder.name, dir_fd=self._above())
        except FileNotFoundError:
            pass
        except OSError as error:
            self._again += 1
            if error.errno != errno.ENOTEMPTY or self._again > _AGAIN:
                raise
            if self._way:
                self._way[-1].names.append(os.fsdecode(folder.name))
            else:
                self._take(folder.name)
        finally:
            os.close(folder.fd)

    @staticmethod
    def _reopen(below: int, folder: _Folder) -> int:
        """The folder above, if it is still the same: code that runs may have moved the one below to another place."""
        fd = os.open("..", FOLDER, dir_fd=below)
        found = os.fstat(fd)
        if (found.st_dev, found.st_ino) != folder.identity:
            os.close(fd)
            raise OSError(errno.ESTALE, "a folder was moved while it was removed", os.fsdecode(folder.name))
        return fd
