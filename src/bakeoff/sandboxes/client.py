"""The harness's side of the zygote: it is started once, and answers requests that many trials have in flight."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bakeoff.errors import SandboxError
from bakeoff.sandboxes.zygote import wire

_START = "import sys; sys.path.insert(0, sys.argv[1]); from zygote import main; main.{entry}(int(sys.argv[2]), int(sys.argv[3]))"
_PATIENCE = 5.0  # seconds
Reply = tuple[wire.Message, list[int]]


class Receiver(Protocol):
    """A sandbox that the zygote has something to tell: ``exit``, ``terminal`` or ``broken`` of a command, ``died``."""

    def on_event(self, message: wire.Message, fds: list[int]) -> None: ...
    def fail(self, reason: str) -> None: ...


class Zygote:
    """A running zygote. ``receivers`` has the sandboxes by the number that the zygote calls them by."""

    def __init__(
        self, process: subprocess.Popen[bytes], sock: socket.socket, name: str = "the process that makes sandboxes"
    ) -> None:
        self.process = process
        self.sock = sock
        self._gone = f"{name} has ended: it was killed, perhaps for want of memory"
        self.receivers: dict[int, Receiver] = {}
        self.first: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._next = 0
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._outbox: deque[tuple[bytes, list[int]]] = deque()
        self._loop = asyncio.get_running_loop()
        self.gone = False
        self._loop.add_reader(sock, self._readable)

    def take_number(self) -> int:
        """A number for a request whose answer or events are wanted before it is sent."""
        self._next += 1
        return self._next

    async def ask(self, op: str, fds: Sequence[int] = (), number: int | None = None, **fields: object) -> Reply:
        """Send a request and wait for its answer. The caller keeps ``fds``; those of the answer are the caller's too."""
        message, received = await self.post(op, fds, number, **fields)
        if error := message.get("error"):
            for fd in received:
                os.close(fd)
            raise SandboxError(str(error))
        return message, received

    def post(
        self, op: str, fds: Sequence[int] = (), number: int | None = None, **fields: object
    ) -> asyncio.Future[Reply]:
        """Send a request; its answer, when it comes. ``fds`` can be closed at once."""
        if self.gone:
            raise SandboxError(self._gone)
        number = self.take_number() if number is None else number
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._waiting[number] = future
        future.add_done_callback(lambda _: self._waiting.pop(number, None))
        self._send({**fields, "op": op, "id": number}, list(fds))
        return future

    def _send(self, message: wire.Message, fds: list[int]) -> None:
        data, fds, extra = wire.pack(message, fds)
        try:
            if not self._outbox:
                try:
                    wire.send_packed(self.sock, data, fds)
                    return
                except BlockingIOError:
                    self._loop.add_writer(self.sock, self._writable)
                except OSError:
                    self._lost()
                    return
            self._outbox.append((data, [os.dup(fd) for fd in fds]))
        finally:
            if extra >= 0:
                os.close(extra)

    def _writable(self) -> None:
        while self._outbox:
            data, fds = self._outbox[0]
            try:
                wire.send_packed(self.sock, data, fds)
            except BlockingIOError:
                return
            except OSError:
                self._lost()
                return
            self._outbox.popleft()
            for fd in fds:
                os.close(fd)
        self._loop.remove_writer(self.sock)

    def _readable(self) -> None:
        for _ in range(64):
            try:
                received = wire.receive(self.sock)
            except BlockingIOError:
                return
            except OSError:
                received = None
            if received is None:
                self._lost()
                return
            message, fds = received
            number = message.get("id")
            if number is None:
                self._tell(message, fds)
                continue
            future = self._waiting.get(number)
            if future is not None and not future.done():
                future.set_result(received)
            else:
                for fd in fds:
                    os.close(fd)

    def _tell(self, message: wire.Message, fds: list[int]) -> None:
        if not self.first.done():
            self.first.set_result((message, fds))
            return
        if (receiver := self.receivers.get(message.get("box", -1))) is not None:
            receiver.on_event(message, fds)
        for fd in fds:
            os.close(fd)

    def _lost(self) -> None:
        if self.gone:
            return
        self.gone = True
        self._loop.remove_reader(self.sock)
        self._loop.remove_writer(self.sock)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(SandboxError(self._gone))
        if not self.first.done():
            self.first.set_result(({"event": "refused", "error": "it ended at once"}, []))
        for receiver in self.receivers.values():
            receiver.fail(self._gone)

    async def close(self) -> None:
        """End it and everything below it; returns when nothing is left."""
        self._lost()
        while self._outbox:
            for fd in self._outbox.popleft()[1]:
                os.close(fd)
        self.sock.close()
        deadline = self._loop.time() + _PATIENCE
        while self.process.poll() is None:
            if self._loop.time() > deadline:
                self.process.terminate()  # its outer process then kills it, and all with it
                deadline += _PATIENCE
            await asyncio.sleep(0.002)


async def start(config: wire.Message, lock: int, entry: str = "run") -> tuple[Zygote, Reply]:
    """Start a zygote by a function of ``zygote.main``: ``run`` isolates, ``run_plain`` does not.

    The second part is its first message: ``ready``, with a descriptor of its live folder where it isolates, or ``refused``.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
    folder = str(Path(__file__).parent)
    try:
        process = subprocess.Popen(  # noqa: ASYNC220 - one, of a small program, once; asyncio's own would want to watch it
            [
                sys.executable or "python3",
                "-IS",
                "-c",
                _START.format(entry=entry),
                folder,
                str(theirs.fileno()),
                str(lock),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), lock),
            cwd="/",
            env={},
            start_new_session=True,  # an interrupt of the terminal is the harness's to deal with
        )
    finally:
        theirs.close()
    wire.send(ours, config)
    ours.setblocking(False)
    zygote = Zygote(process, ours)
    try:
        return zygote, await zygote.first
    except BaseException:
        await zygote.close()
        raise
