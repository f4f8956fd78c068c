"""The agent's own world: namespaces of processes and mounts nested in a sandbox's own.

What runs there sees only what was started there. What enters the sandbox's outer namespaces later, to judge, sees the
world's processes and is neither seen nor reached by them; and one signal to the world's first process ends all of them.
"""

import os
import select
import signal
import socket

from . import enter, wire
from . import syscalls as sys_

_UP = b"\x01"  # what the first process writes when it is there
_PINNED = ("/tests", "/logs", "/logs/verifier")  # as mount points they can be neither moved nor removed from within
# An inode costs a kilobyte of the kernel's memory, which the size of a mount does not bound, and bubblewrap does not either.
_IN_MEMORY = (("/dev", "size=1m,nr_inodes=1k"), ("/dev/shm", "nr_inodes=32k"), ("/tmp", "nr_inodes=512k"))
_GONE_WITHIN = 0.2  # seconds


class World:
    """``pid`` and ``pidfd`` are of its first process, in the zygote's numbering."""

    def __init__(self, pidfd: int) -> None:
        self.pid = _pid_of(pidfd)
        self.pidfd = pidfd

    def end(self) -> bool:
        """Kill everything in it; whether that is done. The kernel reports the first process's end when all others are gone."""
        try:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return bool(select.select([self.pidfd], [], [], _GONE_WITHIN)[0])


class Making:
    """A world that is being made by the child ``maker``, and the requests that wait for it, with their descriptors."""

    def __init__(self, number: int, maker: int) -> None:
        self.number = number  # the sandbox's
        self.maker = maker  # 0 once it has ended: what it has not sent by then, it never will
        self.pidfd = -1
        self.told: bytes | None = None
        self.waiting: list[tuple[wire.Message, list[int]]] = []

    def heard(self, ready: int) -> None:
        self.told = os.read(ready, 4096)

    @property
    def complete(self) -> bool:
        return self.told is not None and (self.pidfd >= 0 or self.told != _UP or not self.maker)

    def world(self) -> World:
        """Raises OSError where it could not be made."""
        if self.told == _UP and self.pidfd >= 0:
            return World(self.pidfd)
        if self.pidfd >= 0:
            os.close(self.pidfd)
        why = (self.told or _UP).removeprefix(_UP).decode("utf-8", "replace")
        raise OSError(why or "the agent's namespaces could not be made: what made them was killed")


def _pid_of(pidfd: int) -> int:
    with open(f"/proc/self/fdinfo/{pidfd}") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("Pid:"))


def build(number: int, program: int, ready: int, sock: socket.socket, guard: enter.Guard) -> None:
    """In a child that has entered the sandbox ``number``: make the world, and its first process out of ``program``."""
    try:
        sys_.unshare(sys_.CLONE_NEWPID | sys_.CLONE_NEWNS)
        child = os.fork()
        if child:
            pidfd = os.pidfd_open(child)
            wire.send(sock, {"box": number}, [pidfd])
            return
        sys_.mount("none", "/", "", sys_.MS_REC | sys_.MS_PRIVATE)
        sys_.mount("proc", "/proc", "proc", sys_.MS_NOSUID | sys_.MS_NODEV | sys_.MS_NOEXEC)
        for path, option in _IN_MEMORY:
            sys_.mount("none", path, "", sys_.MS_REMOUNT | sys_.MS_NOSUID | sys_.MS_NODEV, option)
        for path in _PINNED:
            try:
                sys_.bind(path, path)
            except FileNotFoundError:
                pass
        if guard.proc_sys:
            sys_.bind_read_only("/proc/sys", "/proc/sys", sys_.MS_NOSUID | sys_.MS_NODEV | sys_.MS_NOEXEC)
        os.dup2(ready, 1)
        enter.become(0, 0, [], 0, guard)
        os.execve(program, [b"first"], {})
    except OSError as error:
        os.write(ready, str(error).encode())
