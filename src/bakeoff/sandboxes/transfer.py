"""put and get of a sandbox whose root is an open descriptor: in threads, with the identity that owns the files inside."""

from __future__ import annotations

import asyncio
import ctypes
import struct
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TypeVar

from bakeoff.errors import SandboxError
from bakeoff.files import pack, tar
from bakeoff.files.owners import Owners
from bakeoff.sandboxes.filework import Put

_THREADS = 2
_PIECES = 4  # of a quarter of a mebibyte each, that are read ahead
_BATCH = 1 << 20  # bytes of a stream that are handed to a thread at once
T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)


class Threads:
    """Two threads whose file system identity is ``uid`` (None: the harness's own).

    As root the files of a sandbox belong to mapped ids: these threads make files that belong to root inside, with the
    capabilities of root over any mode. The identity is theirs alone; the harness's other threads keep their own.
    ``owners``: the ids that the sandboxes have; without it all that is in them belongs to one.
    """

    def __init__(self, uid: int | None, owners: Owners | None = None) -> None:
        self._uid = uid
        self.owners = owners
        self._pool = ThreadPoolExecutor(_THREADS, "sandbox-files", initializer=self._become)
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._working = 0

    def _become(self) -> None:
        if self._uid is None:
            return
        _libc.setfsgid(self._uid)
        _libc.setfsuid(self._uid)
        header = struct.pack("=Ii", 0x20080522, 0)
        held = ctypes.create_string_buffer(24)
        _libc.capget(header, held)
        _effective, low, inheritable, _effective_high, high, inheritable_high = struct.unpack("=IIIIII", held.raw)
        _libc.capset(header, struct.pack("=IIIIII", low, low, inheritable, high, high, inheritable_high))

    async def run(self, work: Callable[[], T]) -> T:
        """Wait for what ``work`` returns or raises. Cancelled, it is left out if no thread has begun it.

        A trial does this ten times, and an executor's own futures would cost as much as the work: a thread that is awake
        takes whatever waits.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._lock:
            self._waiting.append(lambda: _settle(loop, future, work))
            start = self._working < _THREADS
            self._working += start
        if start:
            try:
                self._pool.submit(self._work)
            except RuntimeError as error:  # no thread can be started, or it is closed
                future.cancel()
                with self._lock:
                    self._working -= 1
                raise SandboxError(f"no thread can work on files: {error}") from error
        return await future

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._working -= 1
                    return
                work = self._waiting.popleft()
            work()

    def close(self) -> None:
        self._pool.shutdown(wait=True)


def _settle(loop: asyncio.AbstractEventLoop, future: asyncio.Future[T], work: Callable[[], T]) -> None:
    """Do the work in this thread, and tell its outcome to whoever waits in ``loop``."""
    if future.cancelled():
        return
    try:
        tell = partial(_give, future, work())
    except BaseException as error:  # noqa: BLE001 - it is the waiter's, whatever it is
        tell = partial(_fail, future, error)
    with suppress(RuntimeError):  # a loop that is closed has nobody who waits
        loop.call_soon_threadsafe(tell)


def _give(future: asyncio.Future[T], done: T) -> None:
    if not future.done():
        future.set_result(done)


def _fail(future: asyncio.Future[T], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


async def put(threads: Threads, root: int, chunks: AsyncIterator[bytes], dest: str, *, fresh: bool) -> None:
    """Unpack the stream into the folder ``dest`` below ``root``."""
    state = Put(root, dest, fresh, threads.owners)
    done = False
    try:
        batch: list[bytes] = []
        size = 0
        async for chunk in chunks:
            batch.append(chunk)
            size += len(chunk)
            if size >= _BATCH:
                data = b"".join(batch)
                batch, size = [], 0
                await threads.run(lambda data=data: state.feed(data))
        await threads.run(lambda: state.finish(b"".join(batch)))
        done = True
    except (OSError, tar.TarError) as error:
        raise SandboxError(f"cannot unpack into {dest}: {error}") from error
    finally:
        if not done:
            await asyncio.shield(threads.run(state.close))


async def get(threads: Threads, root: int, path: str, *, max_bytes: int) -> AsyncIterator[bytes]:
    """The file or folder at ``path`` below ``root`` as a tar stream."""
    pieces: Generator[bytes] = pack.pack(root, path, max_bytes=max_bytes, owners=threads.owners)
    lock = threading.Lock()  # one who gives up must not close what a thread is still reading
    done = False

    def some() -> list[bytes]:
        with lock:
            return list(islice(pieces, _PIECES))

    def close() -> None:
        with lock:
            pieces.close()

    try:
        while not done:
            batch = await threads.run(some)
            done = len(batch) < _PIECES
            for piece in batch:
                yield piece
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise SandboxError(f"cannot read {path}: {error}") from error
    finally:
        if not done:
            await asyncio.shield(threads.run(close))
