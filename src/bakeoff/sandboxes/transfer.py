"""put and get of a sandbox whose root is an open descriptor: in threads, with the identity that owns the files inside."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
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
from bakeoff.files import inside, pack, tar, unpack
from bakeoff.files.owners import Owners
from bakeoff.files.remove import remove

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
            except RuntimeError:  # no thread can be started
                future.cancel()
                with self._lock:
                    self._working -= 1
                raise
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
    state = _Put(root, dest, fresh, threads.owners)
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


class _Put:
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
