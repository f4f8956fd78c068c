"""The loop of a zygote that isolates nothing: its one sandbox is the machine itself.

What a command leaves behind falls to the zygote (PR_SET_CHILD_SUBREAPER), so that it can be found and ended.
"""

import os
import signal
import socket
import time

from . import enter, tree, wire
from . import syscalls as sys_
from .loop import Box, Ending, Loop

_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE = 10.0  # seconds
_STRIKES = 300


class PlainLoop(Loop):
    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        sys_.prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self.pid = os.getpid()

    def run(self) -> None:
        super().run()
        # The harness is gone: nothing that it started stays.
        deadline = time.monotonic() + _PATIENCE
        while tree.children(self.pid) and time.monotonic() < deadline:
            self.signal_all(Box(0, self.pid), signal.SIGKILL)

    def tell(self, box: Box, event: str, command: int, fds: list[int] | None = None, **more: object) -> None:
        try:
            super().tell(box, event, command, fds, **more)
        except OSError:
            pass  # the harness is gone

    def _kill(self, pids: list[int]) -> None:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass

    def create(self, message: wire.Message, _fds: list[int]) -> None:
        self.boxes[message["id"]] = Box(message["id"], self.pid)
        wire.send(self.sock, {"id": message["id"]})

    def destroy(self, message: wire.Message, _fds: list[int]) -> None:
        box = self.boxes.pop(message["box"])
        ending = Ending(box, {"id": message["id"]})
        ending.keep = frozenset()
        if not self.ended(ending):
            self.endings.append(ending)

    def signal_all(self, box: Box, number: int) -> bool:
        """There is no one signal for all, and nothing is ever stopped; SIGKILL strikes until nothing is left, if it can."""
        return number != signal.SIGKILL or self._strike(frozenset())

    def _strike(self, keep: frozenset[str]) -> bool:
        """Orphans fall to this process at once, so striking at its own children, again and again and without looking
        further, outruns even what forks and exits all the time. Whether none is left but those that are kept."""
        for _ in range(_STRIKES):
            self._kill([pid for pid in tree.children(self.pid) if keep.isdisjoint(tree.names(pid))])
            self.reap()
            if all(not keep.isdisjoint(tree.names(pid)) for pid in tree.children(self.pid)):
                return True
        return False

    def ended(self, ending: Ending) -> bool:
        if ending.keep:
            self._strike(ending.keep)
        return super().ended(ending)

    def become(self, box: Box, message: wire.Message, fds: list[int]) -> None:
        os.setsid()
        if size := message.get("pty"):
            master, slave = os.openpty()
            enter.resize(slave, size[0], size[1])
            self.tell(box, "terminal", message["id"], [master])
            enter.take_terminal(slave)
            fds = [slave, slave, slave]
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
        if message["uid"] not in (0, os.geteuid()):
            os.setgroups(message["groups"])
            os.setresgid(message["gid"], message["gid"], message["gid"])
            os.setresuid(message["uid"], message["uid"], message["uid"])
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        enter.run(message["argv"], message["env"], message["cwd"])

    def listen(self, message: wire.Message, _fds: list[int]) -> None:
        if self.boxes[message["box"]] and os.fork() == 0:
            try:
                enter.listen(self.sock, message)
            finally:
                os._exit(0)

    def cover(self, message: wire.Message, _fds: list[int]) -> None:
        wire.send(self.sock, {"id": message["id"], "left": message["paths"]})

    def uncover(self, message: wire.Message, _fds: list[int]) -> None:
        wire.send(self.sock, {"id": message["id"]})

    def first_of(self, box: Box) -> list[int]:
        return tree.children(self.pid)
