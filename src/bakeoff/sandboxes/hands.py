"""Who works on the files of sandboxes. Inside they belong to ids that are not all the harness's own.

- As root, and with one id, two threads of the harness do it (``OwnHands``), as root with the identity of the sandboxes' root.
- With subordinate ids a process in a user namespace that has them does it (``far.FarHands``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

from bakeoff.errors import SandboxError
from bakeoff.files.inside import FOLDER
from bakeoff.sandboxes import live, transfer, users
from bakeoff.sandboxes.base import Change
from bakeoff.sandboxes.changes import changes_between
from bakeoff.sandboxes.filework import WORKS
from bakeoff.sandboxes.transfer import Threads

_BATCH = 500  # changes that are looked for at once


class Hands(Protocol):
    """Descriptors stay the caller's, who keeps them open till the work has ended."""

    layer_flags: int
    """How folders are to be opened that ``changes`` gets."""

    @property
    def gone(self) -> bool:
        """Whether it has ended by itself, and can do nothing any more."""
        ...

    async def put(self, root: int, chunks: AsyncIterator[bytes], dest: str, *, fresh: bool) -> None:
        """See ``base.Sandbox.put``; ``root`` is the open root."""
        ...

    def get(self, root: int, path: str, *, max_bytes: int) -> AsyncIterator[bytes]:
        """See ``base.Sandbox.get``."""
        ...

    def changes(self, bases: Sequence[int], uppers: Sequence[int], prepared: frozenset[str]) -> AsyncGenerator[Change]:
        """See ``changes.changes_between``."""
        ...

    async def resolve(self, root: int, user: str | None, ids: int) -> users.User:
        """See ``users.resolve``."""
        ...

    async def do(self, work: str, fd: int, *arguments: object) -> object:
        """One of ``filework.WORKS``. Raises SandboxError and OSError."""
        ...

    async def reap(self, job: str, folder: Path) -> int:
        """See ``live.reap``; how many were removed."""
        ...

    async def clear(self, folder: Path) -> None:
        """Remove a folder with all in it that the harness could not remove by itself."""
        ...

    async def close(self) -> None: ...


class OwnHands:
    """Threads of the harness itself."""

    layer_flags = FOLDER
    gone = False

    def __init__(self, threads: Threads) -> None:
        self._threads = threads

    async def put(self, root: int, chunks: AsyncIterator[bytes], dest: str, *, fresh: bool) -> None:
        await transfer.put(self._threads, root, chunks, dest, fresh=fresh)

    def get(self, root: int, path: str, *, max_bytes: int) -> AsyncIterator[bytes]:
        return transfer.get(self._threads, root, path, max_bytes=max_bytes)

    async def changes(
        self, bases: Sequence[int], uppers: Sequence[int], prepared: frozenset[str]
    ) -> AsyncGenerator[Change]:
        found = changes_between(bases, uppers, prepared, self._threads.owners)
        batch: list[Change] | None = None
        while batch is None or len(batch) == _BATCH:
            batch, error = await self._threads.run(lambda: _some(found))
            for change in batch:
                yield change
            if error is not None:
                raise error

    async def resolve(self, root: int, user: str | None, ids: int) -> users.User:
        return users.resolve(root, user, ids)

    async def do(self, work: str, fd: int, *arguments: object) -> object:
        return await self._threads.run(lambda: WORKS[work](fd, *arguments))

    async def reap(self, job: str, folder: Path) -> int:
        return (await asyncio.to_thread(live.reap, job, folder)).removed

    async def clear(self, folder: Path) -> None:
        pass  # it can

    async def close(self) -> None:
        self._threads.close()


def _some(found: Iterator[Change]) -> tuple[list[Change], SandboxError | None]:
    """The next changes, and the error that came after them."""
    batch: list[Change] = []
    try:
        batch.extend(islice(found, _BATCH))
    except SandboxError as error:
        return batch, error
    except OSError as error:  # code inside may be changing what is looked at
        return batch, SandboxError(f"changes cannot be listed: {error}")
    return batch, None
