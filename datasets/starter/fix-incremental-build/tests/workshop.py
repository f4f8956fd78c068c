"""A copy of the agent's Makefile and tools around sources of our own: edit, build, look."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import time

from judging import Apart, Wrong, read_file

OURS = ("pages", "parts", "data", "style", "check", "VERSION", "pages.list")
FILE_LIMIT = 1_000_000  # bytes
TREE_LIMIT = 5_000_000  # bytes, of Makefile and tools


def read_plain(path: str) -> bytes:
    """The bytes of a plain file. Wrong for links, devices and what is too large."""
    return read_file(path, FILE_LIMIT, os.path.basename(path))


def files_below(folder: str) -> dict[str, int]:
    """The times of modification (ns) of everything in a folder that is no folder, by relative path."""
    found: dict[str, int] = {}
    for place, folders, names in os.walk(folder):
        for name in names + [one for one in folders if os.path.islink(os.path.join(place, one))]:
            path = os.path.join(place, name)
            found[os.path.relpath(path, folder)] = os.lstat(path).st_mtime_ns
    return found


class Workshop:
    """One tree. ``tree`` is what its sources are now: {path: text}."""

    def __init__(
        self, folder: str, tree: dict[str, str], apart: Apart, *, backwards: bool, zone: str, deadline: float
    ) -> None:
        self.folder, self.tree, self.apart, self.zone, self.deadline = folder, {}, apart, zone, deadline
        size = 0
        for place, folders, names in os.walk("/app"):
            if place == "/app":
                folders[:] = [name for name in folders if name != "build" and name not in OURS]
                names = [name for name in names if name not in OURS]
            target = os.path.normpath(os.path.join(folder, os.path.relpath(place, "/app")))
            os.makedirs(target, exist_ok=True)
            for name in names:
                status = os.lstat(os.path.join(place, name))
                size += status.st_size
                if not stat.S_ISREG(status.st_mode) or size > TREE_LIMIT:
                    raise Wrong(f"{name}: not a plain file, or too much for a Makefile and tools")
                shutil.copy2(os.path.join(place, name), target)
        os.makedirs(os.path.join(folder, "check"))
        shutil.copy("/tests/links.sh", os.path.join(folder, "check"))
        for path in sorted(tree, reverse=backwards):
            self.write(path, tree[path])
        apart.own(folder)

    def write(self, path: str, text: str) -> None:
        full = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        if os.path.realpath(os.path.dirname(full)) != os.path.dirname(full):
            raise Wrong(f"the folder of {path} was replaced")
        if os.path.lexists(full):
            os.remove(full)
        with open(full, "x", encoding="utf-8") as file:
            file.write(text)
        self.apart.own(full)
        self.tree[path] = text

    def remove(self, path: str) -> None:
        os.remove(os.path.join(self.folder, path))
        del self.tree[path]

    def clear(self) -> None:
        """Take away what was built."""
        path = os.path.join(self.folder, "build")
        if os.path.lexists(path):
            shutil.rmtree(path)

    def age(self, seconds: int = 1000) -> None:
        """Make everything older, all by the same time, so that what is written from now on is newer."""
        paths = [
            os.path.join(place, name) for place, folders, files in os.walk(self.folder) for name in folders + files
        ]
        for path in [*paths, self.folder]:
            status = os.lstat(path)
            times = (status.st_atime_ns - seconds * 10**9, status.st_mtime_ns - seconds * 10**9)
            os.utime(path, ns=times, follow_symlinks=False)

    def make(self, *arguments: str) -> int:
        """The exit code of make."""
        code = self.apart.run(["make", *arguments], self.deadline - time.monotonic(), self.folder, TZ=self.zone).code
        if code is None:
            raise Wrong(f"make {' '.join(arguments)}: out of time")
        return code

    def build(self, *arguments: str) -> None:
        if self.make(*arguments) != 0:
            raise Wrong(f"make {' '.join(arguments)} fails")

    def built(self) -> dict[str, bytes]:
        """The files of build/site."""
        site = os.path.join(self.folder, "build", "site")
        return {path: read_plain(os.path.join(site, path)) for path in files_below(site)}

    def times(self) -> dict[str, int]:
        return files_below(os.path.join(self.folder, "build"))

    def tar(self) -> bytes:
        return read_plain(os.path.join(self.folder, "build", "handbook.tar"))

    def packed(self) -> dict[str, bytes]:
        """The files in the tar."""
        self.tar()
        found: dict[str, bytes] = {}
        with tarfile.open(os.path.join(self.folder, "build", "handbook.tar"), "r:") as archive:
            for member in archive:
                if member.isdir() and member.name.rstrip("/") == "site":
                    continue
                if not member.isreg() or member.size > FILE_LIMIT or member.name in found:
                    raise Wrong("the tar has other things than the files of the site")
                found[member.name] = archive.extractfile(member).read()
        return found
