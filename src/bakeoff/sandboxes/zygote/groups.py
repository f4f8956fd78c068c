"""Control groups for sandboxes, of version 1 or 2: made lazily, joined by forked children, removed with the sandbox.

All goes through descriptors of the folders that ``permitted.find`` opened before anything was mounted over /sys. The zygote
itself, bubblewrap and the first process of a sandbox are never in a group, so a sandbox outlives what is killed in it.
"""

import errno
import os
import time

from . import folders, places
from . import syscalls as sys_

USAGE = "cpuacct"  # limits nothing, tells the time used
_PERIOD = 100_000  # microseconds, what docker and systemd use
_LEAST = 1_000  # microseconds: the kernel takes no less
_ALLOCATION = 2 << 20  # bytes, the largest that is charged at once
_PATIENCE = 1.0  # seconds in which what was killed has left its group


class Place:
    """A folder of ours, open and locked, in which groups for these controllers are made."""

    def __init__(self, fd: int, path: str, controllers: frozenset[str]) -> None:
        self.fd = fd
        self.path = path
        self.controllers = controllers


class Hierarchy:
    """What this machine permits. ``version`` is 0 where nothing can be limited; ``controllers`` are those of memory, pids, cpu
    that can; ``reason`` says in words what is missing and what to do; ``folders`` are where the groups are.
    """

    def __init__(self, version: int, found: list[Place], reason: str) -> None:
        self.controllers = frozenset(name for place in found for name in place.controllers if name != USAGE)
        self.version = version if self.controllers else 0
        self.reason = reason
        self.places = found
        self.folders = tuple(place.path for place in found)
        self._leaving: list[Group] = []

    def make(self, name: str, memory: int = 0, processes: int = 0, cpus: float = 0.0) -> "Group":
        """A new group with limits in bytes, in number, and in processors; 0 is no limit.

        A limit whose controller is missing is left out: see ``Group.limited``. Raises OSError, and then leaves nothing.
        """
        if self._leaving:
            self.retry()
        asked = {"memory": memory > 0, "pids": processes > 0, "cpu": cpus > 0}
        limited = frozenset(name for name, wanted in asked.items() if wanted) & self.controllers
        needed = limited | {"memory", USAGE}
        group = Group(self, name, limited, memory)
        try:
            for place in self.places:
                if self.version == 2 or place.controllers & needed:
                    os.mkdir(name, 0o755, dir_fd=place.fd)
                    group.places.append(place)
            set_limits = _limit_2 if self.version == 2 else _limit_1
            set_limits(group, memory, processes, cpus)
        except OSError:
            group.remove()
            raise
        return group

    def later(self, group: "Group") -> None:
        self._leaving.append(group)

    def retry(self) -> None:
        """Remove what could not be removed before."""
        waiting, self._leaving = self._leaving, []
        for group in waiting:
            group.remove()

    def close(self) -> None:
        """Remove all groups and the folders; waits shortly for what is dying in them. Harmless when repeated."""
        deadline = time.monotonic() + _PATIENCE
        gone, self.places = self.places, []
        for place in gone:
            folders.remove(place.fd, place.path, deadline)
            os.close(place.fd)


class Group:
    """The group of one sandbox, or of what judges in it. ``limited``: those of memory, pids, cpu that it limits."""

    def __init__(self, hierarchy: Hierarchy, name: str, limited: frozenset[str], memory: int) -> None:
        self.hierarchy = hierarchy
        self.name = name
        self.limited = limited
        self.memory = memory
        self.places: list[Place] = []
        self._born_inside = False

    def fork(self) -> int:
        """As os.fork; the child then calls ``join``, which has nothing left to do where it was born in the group.

        With version 2 it is, where the kernel can: to move a process, the kernel waits about 10 ms for all processors. That
        can be refused where the group is full of processes, and is no reason not to move one in.
        """
        if self.hierarchy.version == 2 and self.places:
            try:
                fd = os.open(self.name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.places[0].fd)
                try:
                    pid = sys_.fork_into(fd)
                finally:
                    os.close(fd)
                self._born_inside = pid == 0
                return pid
            except OSError:
                pass
        return os.fork()

    def join(self) -> None:
        """Move this process in. Called in the forked child before it enters the namespaces. Raises OSError."""
        for place in self.places:
            self.join_at(place)

    def join_at(self, place: Place) -> None:
        if self.hierarchy.version == 2:
            if not self._born_inside:
                folders.write(f"{self.name}/cgroup.procs", "0", place.fd)
        else:
            folders.write(f"{self.name}/tasks", "0", place.fd)  # its one thread; cgroup.procs would take 10 ms as above

    def exceeded(self) -> list[str]:
        """Which limits were hit so far: ``memory`` when a process was killed for it, ``processes`` when a fork was refused.

        ``machine_memory`` and ``machine_processes`` where that was not for this group's limit but for one around it.
        """
        found: list[str] = []
        if self.hierarchy.version == 2:
            events = self._text("memory", "memory.events")
            killed, full = _number(events, "oom_kill"), _number(events, "oom")
        else:
            killed = _number(self._text("memory", "memory.oom_control"), "oom_kill")
            # failcnt counts what could be reclaimed too, and on new kernels nothing; a kill at the limit leaves this trace.
            peak = self._text("memory", "memory.max_usage_in_bytes")
            full = int(peak or 0) > self.memory - _ALLOCATION
        if killed:
            found.append("memory" if full and "memory" in self.limited else "machine_memory")
        if _number(self._text("pids", "pids.events"), "max"):
            found.append("processes" if "pids" in self.limited else "machine_processes")
        return found

    def used(self) -> dict[str, float | int | None]:
        """``cpu_seconds`` of all that ran in it; ``memory_peak_bytes``, in which the cache of files counts. None: not known."""
        if self.hierarchy.version == 2:
            micros = _number(self._text("", "cpu.stat"), "usage_usec")
            seconds = micros / 1e6 if micros is not None else None
            peak = self._text("memory", "memory.peak")
        else:
            nanos = self._text(USAGE, "cpuacct.usage")
            seconds = int(nanos) / 1e9 if nanos else None
            peak = self._text("memory", "memory.max_usage_in_bytes")
        return {"cpu_seconds": seconds, "memory_peak_bytes": int(peak) if peak else None}

    def remove(self) -> bool:
        """Remove it; False where a process is still leaving: then the hierarchy tries again with its next group, and at its end."""
        busy: list[Place] = []
        for place in self.places:
            try:
                os.rmdir(self.name, dir_fd=place.fd)
            except FileNotFoundError:
                pass
            except OSError:
                busy.append(place)
        self.places = busy
        if busy:
            self.hierarchy.later(self)
        return not busy

    def _text(self, controller: str, file: str) -> str:
        for place in self.places:
            if not controller or controller in place.controllers:
                return places.read(f"{self.name}/{file}", place.fd).strip()
        return ""

    def write(self, controller: str, file: str, value: str) -> None:
        for place in self.places:
            if controller in place.controllers:
                folders.write(f"{self.name}/{file}", value, place.fd)


def _limit_1(group: Group, memory: int, processes: int, cpus: float) -> None:
    if "memory" in group.limited:
        group.write("memory", "memory.limit_in_bytes", str(memory))
        try:
            group.write("memory", "memory.memsw.limit_in_bytes", str(memory))
        except FileNotFoundError:  # booted without swapaccount=1
            group.write("memory", "memory.swappiness", "0")
    if "pids" in group.limited:
        group.write("pids", "pids.max", str(processes))
    if "cpu" in group.limited:
        try:
            group.write("cpu", "cpu.cfs_period_us", str(_PERIOD))
            group.write("cpu", "cpu.cfs_quota_us", str(max(_LEAST, int(cpus * _PERIOD))))
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # A group around ours has less, and that holds.


def _limit_2(group: Group, memory: int, processes: int, cpus: float) -> None:
    if "memory" in group.limited:
        group.write("memory", "memory.max", str(memory))
        try:
            group.write("memory", "memory.swap.max", "0")
        except FileNotFoundError:
            pass  # a kernel without swap
    if "pids" in group.limited:
        group.write("pids", "pids.max", str(processes))
    if "cpu" in group.limited:
        group.write("cpu", "cpu.max", f"{max(_LEAST, int(cpus * _PERIOD))} {_PERIOD}")


def _number(text: str, key: str) -> int | None:
    """The value of a line ``key value``."""
    for line in text.split("\n"):
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    return None
