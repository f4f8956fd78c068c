"""What is done to the files of sandboxes, through open descriptors: plain functions, for whoever has the right identity.

``hands`` says who that is: threads of the harness, or a process of its own where the files belong to subordinate ids.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Mapping, Sequence

from bakeoff.errors import SandboxError
from bakeoff.files import inside, unpack
from bakeoff.files.inside import FOLDER
from bakeoff.files.owners import Owners
from bakeoff.files.remove import remove


class Put:
    """A tar that is unpacked into the folder ``dest`` below the open folder ``root``, piece by piece."""

    def __init__(self, root: int, dest: str, fresh: bool, owners: Owners | None) -> None:
        self._root = root
        self._owners = owners
        self._dest = dest
        self._fresh = fresh
        self._folder = -1
        self._unpacker: unpack.Unpacker | None = None
        self._lock = threading.Lock()  # one who gives up must not close what a thread is still writing to

    def _opened(self) -> unpack.Unpacker:
        if self._unpacker is None:
            if self._fresh:
                self._folder = fresh_folder(self._root, self._dest)
            else:
                self._folder = inside.open_folder(self._root, self._dest)
            self._unpacker = unpack.Unpacker(self._folder, owners=self._owners)
        return self._unpacker

    def feed(self, data: bytes) -> None:
        with self._lock:
            self._opened().feed(data)

    def finish(self, data: bytes) -> None:
        with self._lock:
            unpacker = self._opened()
            if data:
                unpacker.feed(data)
            unpacker.finish()
        self.close()

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._unpacker is not None:
            self._unpacker.close()
            self._unpacker = None
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1


def fresh_folder(root: int, path: str) -> int:
    """An empty new folder at ``path``: whatever stood there, a link too, is removed. A mount point is emptied instead."""
    parts = inside.parts_of(path)
    if not parts:
        raise OSError(errno.EINVAL, "the root cannot be made fresh")
    parent = inside.open_folder(root, b"/".join(parts[:-1]))
    try:
        if _is_of_the_kernel(parent, parts[-1]):
            raise OSError(errno.EPERM, "a file system that the kernel makes up is not written to")
        try:
            remove(parent, parts[-1])
            inside.make_folder(parent, parts[-1], 0o755)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
        return inside.open_subfolder(parent, parts[-1])
    finally:
        os.close(parent)


def _is_of_the_kernel(parent: int, name: bytes) -> bool:
    try:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError:
        return False
    try:
        return inside.is_of_the_kernel(fd)
    finally:
        os.close(fd)


def prepare(root: int, wanted: Sequence[tuple[str, int]]) -> None:
    """Make the folders that are missing, with their modes; one for all to write is that afterwards even if it was there."""
    for path, mode in wanted:
        try:
            fd = inside.open_folder(root, path, mode=0o755)
            try:
                if mode == 0o777:
                    os.fchmod(fd, mode)  # what an agent left there, in a snapshot, may take no mode
            finally:
                os.close(fd)
        except OSError as error:
            raise SandboxError(f"cannot make the folder {path} in the root: {error}") from error


def freeze(live: int, folder: str, name: str) -> None:
    """Keep what a sandbox wrote, in ``folder`` below ``live``, as the layer ``name``; its overlay has ended."""
    fd = os.open(folder, FOLDER, dir_fd=live)
    try:
        os.rename("u", name, src_dir_fd=fd, dst_dir_fd=fd)
        remove(fd, "w")
    finally:
        os.close(fd)


def end(live: int, path: str) -> None:
    """Remove a sandbox's folder ``path`` (a job's, then one in it) below ``live``; it is no error if it is gone already."""
    above, _, name = path.partition("/")
    try:
        fd = os.open(above, FOLDER, dir_fd=live)
    except FileNotFoundError:
        return
    try:
        remove(fd, name)
    finally:
        os.close(fd)


WORKS: Mapping[str, Callable[..., object]] = {
    "prepare": prepare,
    "freeze": freeze,
    "end": end,
    "discard": remove,
}
"""What ``Hands.do`` does, by name. The first argument is an open descriptor; the others, and what is returned, are plain data."""
