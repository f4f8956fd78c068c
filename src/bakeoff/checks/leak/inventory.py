"""What stands in a live sandbox: the files that differ from its root, and those of the folders where agents look first."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable

from msgspec import Struct

from bakeoff.checks.leak.archives import Budget
from bakeoff.errors import SandboxError
from bakeoff.files import tar
from bakeoff.files.tar import TarError
from bakeoff.sandboxes.base import Sandbox

_TEMPORARY = ("/tmp", "/var/tmp", "/run", "/dev/shm")
"""Folders that are no part of the root and so are in no list of changes."""

_OURS = ("task_packet", "tests", "solution", "logs", "proc", "sys")
_WHAT = "the sandbox"
_MOST_GETS = 400
_MOST_CHANGES = 50_000
_STREAM = 256 << 20
"""Bytes of one place that are brought out of a sandbox at most."""

_KEPT = 64 << 20
"""Bytes of one look that are kept; files beyond are only hashed."""


class Standing(Struct, frozen=True):
    """One regular file: ``data`` is its bytes, or empty where it is longer than one look may keep."""

    path: str
    sha256: str
    size: int
    data: bytes


class Inventory:
    """Regular files by path, and the paths of folders."""

    def __init__(self) -> None:
        self.files: dict[str, Standing] = {}
        self.folders: set[str] = set()
        self.kept = 0

    def under(self, folder: str) -> list[Standing]:
        prefix = f"{folder.rstrip('/')}/"
        return [file for path, file in self.files.items() if path.startswith(prefix)]


async def take_inventory(sandbox: Sandbox, budget: Budget, *, also: Iterable[str] = ()) -> Inventory:
    """Look at everything that differs from the root, at ``also``, and at the folders for temporary files.

    A sandbox without a root of its own tells no changes.
    """
    found = Inventory()
    own = sandbox.root.kind != "none"
    tops = [*await _changed(sandbox, budget), *_TEMPORARY] if own else []
    for path in _outermost([*tops, *also])[:_MOST_GETS]:
        await fetch(sandbox, path, found, budget)
    if len(tops) > _MOST_GETS:
        budget.leave_out(_WHAT, "too many changed places")
    return found


async def _changed(sandbox: Sandbox, budget: Budget) -> list[str]:
    """The outermost paths that differ from the root and are neither the harness's own nor gone."""
    out: list[str] = []
    folders: set[str] = set()
    count = 0
    try:
        async for change in sandbox.changes():
            count += 1
            if count > _MOST_CHANGES:
                budget.leave_out(_WHAT, "too many changes")
                break
            if change.path.split("/")[1] in _OURS or change.kind == "deleted":
                continue
            if change.type == "folder" and change.kind == "added":
                if posixpath.dirname(change.path) not in folders:
                    out.append(change.path)
                folders.add(change.path)
            elif change.type == "file" and posixpath.dirname(change.path) not in folders:
                out.append(change.path)
    except SandboxError as error:
        budget.leave_out(_WHAT, str(error))
    return out


def _outermost(paths: Iterable[str]) -> list[str]:
    """The paths without those that are below another one."""
    out: list[str] = []
    for path in sorted(set(paths)):
        if not out or not path.startswith(f"{out[-1].rstrip('/')}/"):
            out.append(path)
    return out


async def fetch(sandbox: Sandbox, path: str, found: Inventory, budget: Budget) -> None:
    """Add the file or folder at ``path``, if there is one. Links are not followed."""
    above = posixpath.dirname(path.rstrip("/"))
    reader = _Reader("" if above == "/" else above, found, budget)
    stream = sandbox.get(path, max_bytes=_STREAM)
    try:
        async for piece in stream:
            reader.feed(piece)
    except FileNotFoundError:
        return
    except (SandboxError, TarError) as error:
        budget.leave_out(_WHAT, f"{path}: {error}")
    finally:
        reader.end()


class _Reader:
    """Takes a tar stream apart as it comes: each file hashed, and kept as far as the budget goes."""

    def __init__(self, above: str, found: Inventory, budget: Budget) -> None:
        self._above = above
        self._found = found
        self._budget = budget
        self._parser = tar.Parser()
        self._path = ""
        self._left = 0
        self._size = 0
        self._hash = hashlib.sha256()
        self._data: bytearray | None = None

    def feed(self, piece: bytes) -> None:
        for member, data in self._parser.feed(piece):
            if member is not None:
                self.end()
                self._begin(member)
            elif data is not None and self._path:
                self._left -= len(data)
                self._hash.update(data)
                if self._data is not None:
                    self._data += data

    def _begin(self, member: tar.Member) -> None:
        path = f"{self._above}/{member.name.decode('utf-8', 'backslashreplace').strip('/')}"
        if member.kind == tar.FOLDER:
            self._found.folders.add(path)
        elif member.kind == tar.FILE:
            self._path, self._left, self._size = path, member.size, member.size
            self._hash = hashlib.sha256()
            kept = member.size <= min(self._budget.each, _KEPT - self._found.kept)
            self._found.kept += member.size if kept else 0
            if not kept:
                self._budget.leave_out(_WHAT, f"{path} is too long")
            self._data = bytearray() if kept else None

    def end(self) -> None:
        """The file that was begun is whole; one that broke off is left out."""
        if self._path and not self._left:
            data = bytes(self._data or b"")
            self._found.files[self._path] = Standing(self._path, self._hash.hexdigest(), self._size, data)
        self._path = ""
