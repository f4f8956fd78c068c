"""The disk limits of sandboxes whose files lie on a disk of the machine, and the machine's own reserve, by watching.

There is no quota: free space is read four times a second, and a sandbox is measured when it may be over its limit.
Between two readings, and during a measurement, a sandbox writes as fast as the disk takes it; so a limit is passed by
that much. What one sandbox writes while others remove as much within the same quarter of a second is found later, when
it has not been measured for half a minute.
Files with no name are found through the descriptors of the processes that hold them; one that is only mapped is found
by root alone. What no measurement explains counts for nobody, and shows as a shortage when the reserve is reached.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bakeoff.errors import SandboxError
from bakeoff.sandboxes.disk_limits import (
    UNCOUNTED_RATE,
    Decision,
    Excess,
    Room,
    Shortage,
    Space,
    Usage,
    Watched,
    What,
    decide,
    earliest,
    exceeds,
    fell,
    full,
    kept,
    plus,
    raised,
)

TICK = 0.25  # seconds
MEASURE_WITHIN = 10.0  # seconds, after which what a measurement has counted so far must do
_ANSWER_WITHIN = MEASURE_WITHIN + 10.0
_AT_ONCE = 2
_PATIENCE = 20  # readings
_REST = 4.0  # a sandbox is left alone for so many times as long as its last measurement took,
_REST_MOST = 10.0  # seconds at most
_ANYWAY = 30.0  # seconds after which a sandbox is measured although nothing fell: others may have freed what it took
_EMPTY = Usage(Space())

Measure = Callable[[Space], Awaitable[Usage]]


def room(fd: int) -> Room:
    """The file system on which an open folder lies."""
    found = os.fstatvfs(fd)
    counted = found.f_files > 0
    return Room(
        free=Space(found.f_bavail * found.f_frsize, found.f_favail if counted else 0),
        total=Space(found.f_blocks * found.f_frsize, found.f_files),
    )


@dataclass
class _Entry:
    watched: Watched
    measure: Measure
    exceeded: Callable[[Excess], None]
    task: asyncio.Task[None] | None = None
    rest_until: float = 0.0
    measured: float = 0.0


class DiskWatch:
    """Watches one file system as long as sandboxes are added.

    ``read`` returns what is free on it, ``unexplained`` is told when the reserve is reached and the sandboxes are not the
    cause: then nobody can be ended for it, and the run should stop as on a full disk.
    """

    def __init__(self, read: Callable[[], Room], unexplained: Callable[[str], None], tick: float = TICK) -> None:
        self._read = read
        self._unexplained = unexplained
        self._every = tick
        self._entries: dict[str, _Entry] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._fallen = Space()  # the sum of all falls: what rises in between does not hide what falls
        self._due: Space | None = None
        self._last = self._first = Room(Space(), Space())
        self._kept = Space()
        self._short: tuple[What, int] | None = None
        self.looks = 0

    def full(self) -> bool:
        """Whether nothing can be written now, whoever's fault it is."""
        return full(self._read())

    async def room_for_one(self, where: Path) -> None:
        """Wait a little for room for a new sandbox, if others are there whose end may make it. Raises OSError (ENOSPC)."""
        for _ in range(_PATIENCE):
            if not self.full():
                return
            if not self._entries:
                break
            await asyncio.sleep(self._every)
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} in {where}")

    def add(self, key: str, limits: Space, measure: Measure, exceeded: Callable[[Excess], None]) -> None:
        """Watch a new sandbox, which holds nothing yet. ``measure`` may end early once the space that it is given is passed.

        ``exceeded`` is told when it is over a limit, again when it has grown by another quarter of the limit, and when it
        holds most of a disk that runs short.
        """
        if not self._entries:
            self._first = self._last = self._read()
            self._kept = kept(self._first)
            self._short = None
            self._timer = asyncio.get_running_loop().call_later(self._every, self._tick)
        now = asyncio.get_running_loop().time()
        self._entries[key] = _Entry(Watched(limits, _EMPTY, self._fallen), measure, exceeded, measured=now)
        self._refresh()

    def remove(self, key: str) -> None:
        """Watch it no longer; harmless where it is not watched."""
        entry = self._entries.pop(key, None)
        if entry is not None and entry.task is not None:
            entry.task.cancel()
        if not self._entries and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        for key in list(self._entries):
            self.remove(key)

    def _refresh(self) -> None:
        self._due = earliest(entry.watched for entry in self._entries.values())

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._every, self._tick)
        now = self._read()
        self._fallen = plus(self._fallen, fell(self._last.free, now.free))
        if not now.total.inodes:
            self._fallen = plus(self._fallen, Space(0, round(UNCOUNTED_RATE * self._every)))
        self._last = now
        self._note_shortage()
        if self._short or (self._due is not None and exceeds(self._fallen, self._due)):
            self._act()
        self._measure_old()

    def _measure_old(self) -> None:
        loop = asyncio.get_running_loop()
        for entry in self._entries.values():
            if entry.task is None and loop.time() - entry.measured > _ANYWAY:
                entry.task = loop.create_task(self._measure(entry))

    def _note_shortage(self) -> None:
        free, total = self._last.free, self._last.total
        if self._short is None:
            if free.bytes < self._kept.bytes:
                self._short = ("storage", self._fallen.bytes)
            elif total.inodes and free.inodes < self._kept.inodes:
                self._short = ("inodes", self._fallen.inodes)
        elif free.of(self._short[0]) >= self._kept.of(self._short[0]):
            self._short = None
        if self._short is None:
            wanted = kept(self._last)  # more than half of what is free, only where there is plenty again
            self._kept = Space(max(self._kept.bytes, wanted.bytes), max(self._kept.inodes, wanted.inodes))

    def _shortage(self) -> Shortage | None:
        if self._short is None:
            return None
        what, since = self._short
        lost = max(0, self._first.free.of(what) - self._last.free.of(what))
        return Shortage(what, self._last.free.of(what), self._kept.of(what), since, lost)

    def _act(self) -> None:
        decision = decide({key: entry.watched for key, entry in self._entries.items()}, self._fallen, self._shortage())
        self._look(decision)
        if decision.unexplained or any(excess.machine for excess in decision.over):
            self._kept = kept(self._last)  # told once: not again before half of what is left is gone too
            self._short = None
        for excess in decision.over:
            entry = self._entries[excess.key]
            entry.watched = raised(entry.watched)
        self._refresh()
        for excess in decision.over:
            if entry := self._entries.get(excess.key):
                entry.exceeded(excess)
        if decision.unexplained:
            self._unexplained(decision.unexplained)

    def _look(self, decision: Decision) -> None:
        loop = asyncio.get_running_loop()
        for key in decision.look:
            entry = self._entries[key]
            if entry.task is None and loop.time() >= entry.rest_until:
                entry.task = loop.create_task(self._measure(entry))

    async def _measure(self, entry: _Entry) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with self._slots:
                seen, began = self._fallen, loop.time()
                self.looks += 1
                async with asyncio.timeout(_ANSWER_WITHIN):
                    used = await entry.measure(entry.watched.limits)
                entry.rest_until = loop.time() + min(_REST_MOST, _REST * (loop.time() - began))
            entry.watched = msgspec.structs.replace(entry.watched, used=used, seen=seen)
        except (SandboxError, TimeoutError):
            # It is about to end, or the machine is at its limits. It must not hold up what is decided about the others,
            # and is measured again when as much has been written again.
            entry.watched = msgspec.structs.replace(entry.watched, seen=self._fallen)
        finally:
            entry.task = None
            entry.measured = loop.time()
        self._act()
