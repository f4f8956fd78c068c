"""Files of an image outside what a distribution brings, read from its layers on this machine."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence

from bakeoff.checks.leak.archives import Budget
from bakeoff.files.inside import FOLDER, open_below

_DISTRIBUTION = frozenset((
    "usr/bin", "usr/sbin", "usr/lib", "usr/lib32", "usr/lib64", "usr/libx32", "usr/libexec", "usr/include", "usr/share", "usr/games",
    "bin", "sbin", "lib", "lib32", "lib64", "libx32", "boot", "proc", "sys", "dev", "var/lib/dpkg", "var/lib/apt", "var/lib/rpm",
    "var/cache", "etc/ssl", "etc/alternatives", "etc/ca-certificates", "lib/apk", "usr/local/lib", "usr/local/include",
    "usr/local/share/man",
))  # fmt: skip
_WHAT = "the image"
_LAST = ("usr", "var", "etc")
_MOST = 100_000  # entries
_SECONDS = 10.0
_OPAQUE = ("user.overlay.opaque", "trusted.overlay.opaque")


class Layers:
    """One look at an image. ``folders`` and ``files`` are absolute paths inside."""

    def __init__(self, paths: Sequence[str], budget: Budget) -> None:
        self._paths = paths
        self._budget = budget
        self.folders: set[str] = set()

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Every regular file that can be read and is not too long, with its bytes; a higher layer hides what lies below it."""
        tops = [os.open(path, FOLDER) for path in reversed(self._paths)]
        try:
            yield from self._walk(tops)
        finally:
            for top in tops:
                os.close(top)

    def _walk(self, tops: Sequence[int]) -> Iterator[tuple[str, bytes]]:
        pending = [b""]
        end, count = time.monotonic() + _SECONDS, 0
        while pending:
            here = pending.pop()
            taken: set[bytes] = set()
            below: list[bytes] = []
            for top in tops:
                try:
                    folder = open_below(top, here)
                except OSError:
                    continue  # not in this layer, closed to us, or a link that hides what lies below
                try:
                    names = sorted(os.fsencode(name) for name in os.listdir(folder))
                    count += len(names)
                    for name in names:
                        if name not in taken:
                            taken.add(name)
                            yield from self._entry(folder, here, name, below)
                    if _is_opaque(folder):
                        break
                finally:
                    os.close(folder)
                if count > _MOST or time.monotonic() > end:
                    self._budget.leave_out(_WHAT, "too many files")
                    return
            pending += sorted(below, key=lambda path: path.decode("utf-8", "replace") in _LAST, reverse=True)

    def _entry(self, folder: int, here: bytes, name: bytes, below: list[bytes]) -> Iterator[tuple[str, bytes]]:
        path = here + b"/" + name if here else name
        shown = path.decode("utf-8", "backslashreplace")
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                self.folders.add(f"/{shown}")
                if shown not in _DISTRIBUTION:
                    below.append(path)
            elif stat.S_ISREG(found.st_mode):
                if found.st_size > self._budget.each:
                    self._budget.leave_out(_WHAT, f"/{shown} is too long")
                    return
                yield f"/{shown}", _read(folder, name, self._budget.each)
        except OSError as error:
            self._budget.leave_out(_WHAT, f"/{shown}: {error.strerror}")


def _read(folder: int, name: bytes, most: int) -> bytes:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=folder)
    with open(fd, "rb") as stream:
        return stream.read(most) if stat.S_ISREG(os.fstat(fd).st_mode) else b""


def _is_opaque(folder: int) -> bool:
    for name in _OPAQUE:
        try:
            if os.getxattr(folder, name) == b"y":
                return True
        except OSError:
            continue
    return False
