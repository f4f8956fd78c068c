"""Objects of git repositories: streams of ``git cat-file``, loose objects, and the way from a blob to a commit.

Repositories come from tasks: everything in them may be wrong on purpose.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator

from msgspec import Struct

from bakeoff.checks.leak.archives import Budget
from bakeoff.checks.leak.packs import MAX_OBJECT

_HEAD = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}) (blob|tree|commit|tag) (\d{1,15})")
_LONGEST_HEAD = 100
_LOOSE = re.compile(r"(.*)/objects/([0-9a-f]{2})/([0-9a-f]{38}|[0-9a-f]{62})")
_STORE = re.compile(r"(.*)/objects/(?:[0-9a-f]{2}|pack|info)")
_OTHERS = {".hg": "Mercurial", ".svn": "Subversion", ".bzr": "Bazaar"}


class GitError(ValueError):
    """What should be a stream of objects is none."""


class Object(Struct, frozen=True):
    """One object; ``data`` is None where it was too long to be kept."""

    id: str
    kind: str
    data: bytes | None


def repositories(folders: Iterable[str]) -> list[str]:
    """The folders that hold a store of git objects: ``.git``, bare repositories, modules, worktrees of their own."""
    return sorted({match.group(1) for path in folders if (match := _STORE.fullmatch(path))})


def other_histories(folders: Iterable[str]) -> list[tuple[str, str]]:
    """Folders of other version-control systems, and what they are called."""
    return sorted((path, _OTHERS[name]) for path in folders if (name := path.rpartition("/")[2]) in _OTHERS)


def loose_name(path: str) -> tuple[str, str] | None:
    """The repository and the id of the loose object that a path is of; None for any other path."""
    match = _LOOSE.fullmatch(path)
    return (match.group(1), match.group(2) + match.group(3)) if match else None


def is_store(path: str) -> bool:
    """Whether a file belongs to a store of git objects, which is read as such."""
    folder, _, name = path.rpartition("/")
    return loose_name(path) is not None or (
        folder.endswith("/objects/pack") and name.startswith(("pack-", "multi-pack", "tmp_"))
    )


def loose_object(name: str, data: bytes) -> Object | None:
    """A loose object's content; None where it is damaged or longer than is kept."""
    try:
        plain = zlib.decompressobj().decompress(data, MAX_OBJECT + _LONGEST_HEAD)
    except zlib.error:
        return None
    head, zero, body = plain.partition(b"\0")
    match = re.fullmatch(rb"(blob|tree|commit|tag) (\d{1,15})", head) if zero and len(head) < _LONGEST_HEAD else None
    if match is None or int(match.group(2)) != len(body):
        return None
    return Object(name, match.group(1).decode(), body)


class ObjectStream:
    """Reads what ``git cat-file --batch`` writes, fed with bytes as they come; no more is held than one object."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skip = 0

    def feed(self, data: bytes) -> Iterator[Object]:
        """The objects that these bytes complete. Raises GitError for what is no such stream."""
        self._buffer += data
        while True:
            if self._skip:
                cut = min(self._skip, len(self._buffer))
                del self._buffer[:cut]
                self._skip -= cut
            end = self._buffer.find(b"\n", 0, _LONGEST_HEAD)
            if self._skip or end < 0:
                if len(self._buffer) >= _LONGEST_HEAD and not self._skip:
                    raise GitError("no header where one belongs")
                return
            head = bytes(self._buffer[:end])
            match = _HEAD.fullmatch(head)
            if match is None:
                if not head.endswith((b" missing", b" ambiguous")):
                    raise GitError("no header where one belongs")
                del self._buffer[: end + 1]
                continue
            name, kind, size = match.group(1).decode(), match.group(2).decode(), int(match.group(3))
            if size > MAX_OBJECT:
                del self._buffer[: end + 1]
                self._skip = size + 1
                yield Object(name, kind, None)
            elif len(self._buffer) < end + 1 + size + 1:
                return
            else:
                body = bytes(self._buffer[end + 1 : end + 1 + size])
                del self._buffer[: end + 1 + size + 1]
                yield Object(name, kind, body)


class History:
    """The objects of one repository: blobs and messages to be looked at, trees to tell where a blob is from."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.blobs: dict[str, bytes] = {}
        self.messages: dict[str, bytes] = {}
        self.what = f"the history in {path}"
        self._parents: dict[str, tuple[str, str]] = {}
        self._commits: dict[str, str] = {}

    def add(self, found: Object, budget: Budget) -> None:
        """Keep an object as far as the budget goes."""
        if found.data is None:
            budget.leave_out(self.what, "an object is too long")
        elif not budget.take(len(found.data)):
            budget.leave_out(self.what, "too many objects")
        elif found.kind == "blob":
            self.blobs[found.id] = found.data
        elif found.kind == "tree":
            for name, entry in tree_entries(found.data, len(found.id) // 2):
                self._parents.setdefault(entry, (found.id, name))
        else:
            head, _, message = found.data.partition(b"\n\n")
            self.messages[found.id] = message
            if match := re.match(rb"tree ([0-9a-f]{40,64})(?:\n|$)", head):
                self._commits.setdefault(match.group(1).decode(), found.id)

    def origin(self, blob: str) -> str:
        """A commit that holds the blob and its path there, or the blob's own id where no commit does."""
        path, here = "", blob
        for _ in range(100):
            if here in self._commits and path:
                return f"commit {self._commits[here][:12]}!{path}"
            if here not in self._parents:
                break
            here, name = self._parents[here]
            path = f"{name}/{path}" if path else name
        return f"blob {blob[:12]}" + (f"!{path}" if path else "")


def tree_entries(data: bytes, width: int) -> Iterator[tuple[str, str]]:
    """The name and the id of each entry of a tree, as far as it is well formed. ``width`` is the length of an id in bytes."""
    at = 0
    while (zero := data.find(b"\0", at)) >= 0 and zero + width < len(data):
        _mode, _, name = data[at:zero].partition(b" ")
        yield name.decode("utf-8", "backslashreplace"), data[zero + 1 : zero + 1 + width].hex()
        at = zero + 1 + width
