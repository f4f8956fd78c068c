"""One live sandbox of a zygote."""

from __future__ import annotations

import asyncio
import errno
import os
import posixpath
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

import msgspec

from bakeoff.errors import SandboxError
from bakeoff.files import tar
from bakeoff.images.root import Root
from bakeoff.sandboxes.base import Change, Ended, Size, Used, tar_bytes
from bakeoff.sandboxes.client import Zygote
from bakeoff.sandboxes.commands import Command, Pipes
from bakeoff.sandboxes.disk import MEASURE_WITHIN
from bakeoff.sandboxes.disk_limits import Excess, Space, Usage
from bakeoff.sandboxes.hands import Hands
from bakeoff.sandboxes.limits import Bounds
from bakeoff.sandboxes.streams import EmptyReader, PipeReader, PipeWriter
from bakeoff.sandboxes.zygote.wire import Message


@dataclass
class Opened:
    """A running sandbox as the zygote knows it: its number, and descriptors of its root and of what it wrote."""

    number: int
    root_fd: int
    upper_fd: int

    def close(self) -> None:
        for fd in (self.root_fd, self.upper_fd):
            if fd >= 0:
                os.close(fd)
        self.root_fd = self.upper_fd = -1


@dataclass(frozen=True)
class Place:
    """What stays the same of a sandbox when it is opened anew on its own snapshot.

    ``ids``: how many ids are mapped inside. ``reopen`` makes it run on the given root; ``freeze`` ends it, and turns what
    it wrote into a layer whose path it returns. ``prepared``: folders that were made for it. ``hides``: whether folders can
    be laid over others without the agent's world seeing them. ``full`` tells whether nothing can be written to the disk now.
    """

    workdir: str
    bounds: Bounds
    ids: int
    prepared: frozenset[str]
    reopen: Callable[[Root], Awaitable[Opened]]
    freeze: Callable[[Opened], Awaitable[str]]
    layer_fd: Callable[[str], int]
    hides: bool = True
    full: Callable[[], bool] = lambda: False


class Box:
    """See ``sandboxes.base.Sandbox``."""

    def __init__(self, zygote: Zygote, hands: Hands, root: Root, place: Place) -> None:
        self.root = root
        self.workdir = place.workdir
        self.bounds = place.bounds
        self._now = root  # its layers; snapshots add to them
        self._place = place
        self._zygote = zygote
        self._hands = hands
        self._opened: Opened | None = None
        self._opening = asyncio.Lock()
        self._commands: dict[int, Command] = {}
        self._terminals: dict[int, asyncio.Future[Command]] = {}
        self._doors: list[BoxDoor] = []
        self._broken: str | OSError = ""
        self._ending: set[asyncio.Task[None]] = set()
        self.excess: Excess | None = None

    async def ready(self) -> Opened:
        """The running sandbox; after a snapshot it is started anew at the first use."""
        if self._broken:
            raise _error(self._broken)
        if self._opened is None:
            async with self._opening:
                if self._opened is None:
                    self._opened = await self._place.reopen(self._now)
        return self._opened

    def adopt(self, opened: Opened) -> None:
        """Take a sandbox that runs already."""
        self._opened = opened

    # Commands

    async def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str,
        user: str | None = None,
        pty: Size | None = None,
        apart: bool = False,
    ) -> Command:
        if self._ending:
            await asyncio.wait(self._ending)  # or what is to end them all would end this one too
        opened = await self.ready()
        who = await self._hands.resolve(opened.root_fd, user, self._place.ids)
        request: dict[str, object] = {
            "box": opened.number,
            "argv": [os.fsencode(part) for part in argv],
            "env": {os.fsencode(name): os.fsencode(value) for name, value in env.items()},
            "cwd": os.fsencode(cwd or "/"),
            "uid": who.uid,
            "gid": who.gid,
            "groups": list(who.groups),
            "apart": apart,
        }
        number = self._zygote.take_number()
        if pty is not None:
            return await self._start_terminal(number, {**request, "pty": [pty.rows, pty.columns]})
        pipes = Pipes()
        stdin, stdout, stderr = pipes.ours
        command = Command(PipeWriter(stdin), PipeReader(stdout), PipeReader(stderr), self._killer(number))
        self._commands[number] = command
        try:
            await self._zygote.ask("exec", pipes.theirs, number, **request)
        except BaseException:
            self._commands.pop(number).close()
            raise
        finally:
            pipes.close_theirs()
        return command

    async def _start_terminal(self, number: int, request: dict[str, object]) -> Command:
        future: asyncio.Future[Command] = asyncio.get_running_loop().create_future()
        self._terminals[number] = future
        try:
            await self._zygote.ask("exec", (), number, **request)
            return await future
        finally:
            self._terminals.pop(number, None)

    def _killer(self, number: int) -> Callable[[], Awaitable[None]]:
        async def kill() -> None:
            if self._opened is not None and not self._broken:
                await self._zygote.ask("kill", box=self._opened.number, command=number)

        return kill

    def on_event(self, message: Message, fds: list[int]) -> None:
        """What the zygote tells about this sandbox."""
        match message["event"]:
            case "exit":
                if self._place.full():
                    self.fail(
                        "the disk of the sandboxes was full when a command ended: whether that is why, nobody knows"
                    )
                if (future := self._terminals.get(message["command"])) and not future.done():
                    future.set_exception(SandboxError("the command was killed before its terminal was open"))
                if command := self._commands.get(message["command"]):
                    command.ended(message["code"], message["cpu"], message["rss"], message["limit"] or None)
            case "terminal":
                self._on_terminal(message["command"], fds.pop())
            case "broken":
                number, reason = message["command"], f"the sandbox cannot be entered: {message['error']}"
                if (future := self._terminals.get(number)) and not future.done():
                    future.set_exception(SandboxError(reason))
                if command := self._commands.get(number):
                    command.failed(reason)
            case _:
                self.fail("the sandbox has ended by itself: its first process is gone")

    def _on_terminal(self, number: int, master: int) -> None:
        future = self._terminals.get(number)
        if future is None or future.done():
            os.close(master)
            return
        command = Command(
            PipeWriter(os.dup(master), _end_input), PipeReader(master), EmptyReader(), self._killer(number)
        )
        self._commands[number] = command
        future.set_result(command)

    def fail(self, reason: str | OSError) -> None:
        self._broken = self._broken or reason
        for future in self._terminals.values():
            if not future.done():
                future.set_exception(_error(self._broken))
        for command in self._commands.values():
            command.failed(self._broken)

    async def end_processes(self, keep: Sequence[str] = ()) -> tuple[Ended, ...]:
        if self._opened is None:
            return ()
        message, _ = await self._zygote.ask("end", box=(await self.ready()).number, keep=list(keep))
        ended: list[tuple[int, str, bool]] = message["ended"]
        return tuple(Ended(pid=pid, name=name, listening=listening) for pid, name, listening in ended)

    # The disk

    async def measure(self, folder: str, most: Space) -> Usage:
        """What it holds on the disk, all its layers together; counting ends once that is more than ``most``."""
        message, _ = await self._zygote.ask(
            "measure",
            box=self._opened.number if self._opened is not None else 0,
            folder=folder,
            most_bytes=most.bytes,
            most_entries=most.inodes,
            within=MEASURE_WITHIN,
        )
        return Usage(Space(message["bytes"], message["entries"]), message["whole"])

    def exceeded(self, excess: Excess) -> None:
        """End what runs in it. It is as good as before for what comes then, unless it was ended for the machine's sake."""
        self.excess = self.excess or excess
        for command in self._commands.values():
            command.over(excess.what)
        self._end_soon()
        if excess.machine:
            self.fail(f"the sandbox was ended: {excess}")

    def no_room(self, reason: str) -> None:
        """End what runs in it; whoever uses it from now on gets the error of a full disk."""
        self._end_soon()
        self.fail(OSError(errno.ENOSPC, reason))

    def _end_soon(self) -> None:
        if self._opened is not None and not self._zygote.gone:
            task = asyncio.get_running_loop().create_task(self._end_all(self._opened.number))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _end_all(self, number: int) -> None:
        with suppress(SandboxError):  # it ends by itself at the same time
            await self._zygote.ask("end", box=number, keep=[])

    # Files

    async def put(self, tar: AsyncIterator[bytes], dest: str, *, fresh: bool = False) -> None:
        opened = await self.ready()
        await self._hands.put(opened.root_fd, tar, dest, fresh=fresh)

    async def get(self, path: str, *, max_bytes: int) -> AsyncIterator[bytes]:
        opened = await self.ready()
        async for piece in self._hands.get(opened.root_fd, path, max_bytes=max_bytes):
            yield piece

    async def used(self) -> Used:
        disk = (self.excess.what,) if self.excess is not None else ()
        if self._opened is None:
            return Used(exceeded=disk)
        message, _ = await self._zygote.ask("used", box=self._opened.number)
        return Used(
            cpu_seconds=message["cpu_seconds"],
            memory_peak_bytes=message["memory_peak_bytes"],
            exceeded=(*message["exceeded"], *disk),
        )

    async def cover(self, paths: Sequence[str]) -> None:
        opened = await self.ready()
        message, _ = await self._zygote.ask("cover", box=opened.number, paths=list(paths))
        left: list[str] = message["left"]
        for path in left:
            await self._make_fresh(path)
        if left and self._place.hides:
            message, _ = await self._zygote.ask("cover", box=opened.number, paths=left)
            if message["left"]:
                raise SandboxError(f"{', '.join(message['left'])} cannot be covered")

    async def _make_fresh(self, path: str) -> None:
        """An empty folder in which anybody may write, whatever stood there; what is in its way above goes as well."""
        above, name = posixpath.split(path)
        empty = tar.build([(tar.Member(name=os.fsencode(name), kind=tar.FOLDER, mode=0o777), b"")])
        try:
            await self.put(tar_bytes(b""), path, fresh=True)
        except SandboxError:
            await self.put(tar_bytes(b""), above, fresh=True)
        await self.put(tar_bytes(empty), above)

    async def uncover(self) -> None:
        if self._opened is not None:
            await self._zygote.ask("uncover", box=self._opened.number)

    async def snapshot(self) -> Root:
        """Ends every process; later calls work on a new sandbox over the snapshot, with an empty /tmp."""
        async with self._opening:
            if self._opened is not None:
                opened = self._opened
                layer = await self._place.freeze(opened)
                self._opened = None
                self._now = with_layer(self._now, layer)
        return self._now

    async def changes(self) -> AsyncIterator[Change]:
        if not self.root.paths:
            raise SandboxError("without a root of its own nothing is known of what was there before")
        frozen = self._now.paths[len(self.root.paths) :]
        uppers = [self._place.layer_fd(path) for path in frozen]
        bases = [self._place.layer_fd(path) for path in self.root.paths]
        try:
            if self._opened is not None and self._opened.upper_fd >= 0:
                uppers.append(os.dup(self._opened.upper_fd))
            async with aclosing(self._hands.changes(bases, uppers, self._place.prepared)) as found:
                async for change in found:
                    yield change
        finally:
            for fd in (*uppers, *bases):
                os.close(fd)

    # Doors

    async def listen(self, port: int) -> BoxDoor:
        opened = await self.ready()
        message, fds = await self._zygote.ask("listen", box=opened.number, port=port)
        sock = socket.socket(fileno=fds[0])
        sock.setblocking(False)
        door = BoxDoor(f"127.0.0.1:{message['port']}", sock)
        self._doors.append(door)
        return door

    async def close(self) -> Opened | None:
        """Give back what the harness holds of it; what is left to destroy is returned."""
        for door in self._doors:
            door.socket.close()
        self.fail("the sandbox was closed")
        for command in self._commands.values():
            command.close()
        opened, self._opened = self._opened, None
        return opened


class BoxDoor:
    """See ``sandboxes.base.Door``. ``socket`` listens inside and is accepted from outside."""

    def __init__(self, address: str, sock: socket.socket) -> None:
        self.address = address
        self.socket = sock

    async def close(self) -> None:
        self.socket.close()


def _error(reason: str | OSError) -> Exception:
    return SandboxError(reason) if isinstance(reason, str) else reason


def with_layer(root: Root, layer: str) -> Root:
    digest = f"{root.digest}+{layer.rsplit('/', 1)[-1]}"
    return msgspec.structs.replace(root, digest=digest, paths=(*root.paths, layer))


def _end_input(fd: int) -> None:
    """A terminal has no end of input but the key for it."""
    try:
        os.write(fd, b"\x04")
    except OSError:
        pass
    os.close(fd)
