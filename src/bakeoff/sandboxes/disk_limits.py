"""Which sandboxes to measure, and which are over their limit: decided from numbers alone.

Free space is read all the time, which costs nothing, and sandboxes are measured rarely, which costs a walk. What all
sandboxes wrote since some moment is at most what free space fell by since then (see ``Room``); so a sandbox that held
``used`` when it was measured cannot be over its limit before free space has fallen by more than ``limit - used``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec
from msgspec import Struct

RESERVE_BYTES = 512 << 20
RESERVE_SHARE = 50  # one part in fifty
FULL = (4 << 20, 64)  # bytes and inodes: with less left than this nothing can be expected to work
UNCOUNTED_RATE = 50_000  # files a second that are taken to be made where the file system does not count them
_EXPLAINS = 2  # a shortage is the sandboxes' doing if they hold one part in two of what went

What = Literal["storage", "inodes"]


class Space(Struct, frozen=True):
    """Bytes on the disk, and files: inodes where a file system tells them, names where a sandbox is measured."""

    bytes: int = 0
    inodes: int = 0

    def of(self, what: What) -> int:
        return self.bytes if what == "storage" else self.inodes


class Usage(Struct, frozen=True):
    """What a sandbox holds; at least that, where the measurement was ended before it was ``whole``."""

    space: Space
    whole: bool = True


class Room(Struct, frozen=True):
    """What is free, for whoever has no privilege, on a file system of this size; 0 inodes in all where they are not counted."""

    free: Space
    total: Space


class Watched(Struct, frozen=True):
    """A sandbox: what it may hold, what it held at the last measurement, and how much free space had fallen by then."""

    limits: Space
    used: Usage
    seen: Space

    def due(self) -> Space:
        """Once free space has fallen by more than this in all, it may be over its limits."""
        return Space(
            self.seen.bytes + max(0, self.limits.bytes - self.used.space.bytes),
            self.seen.inodes + max(0, self.limits.inodes - self.used.space.inodes),
        )


class Shortage(Struct, frozen=True):
    """The machine itself has less than it must keep: ``free`` of ``kept``.

    ``since``: how much had fallen in all when that was seen first; ``lost``: by how much free space fell since the first of
    the sandboxes was opened.
    """

    what: What
    free: int
    kept: int
    since: int
    lost: int


class Excess(Struct, frozen=True):
    """A sandbox that must be ended. ``machine``: it broke no limit of its own, but holds most of what the machine is short of."""

    key: str
    what: What
    measured: int
    permitted: int
    machine: bool = False
    whole: bool = True

    def __str__(self) -> str:
        most = "" if self.whole else "at least "
        held, most_held = amount(self.what, self.measured), amount(self.what, self.permitted)
        if self.machine:
            return f"it holds {most}{held}, more than any other sandbox, of a disk with less than {most_held} left"
        return f"it holds {most}{held} on the disk, and {most_held} are permitted"


class Decision(Struct, frozen=True):
    """Sandboxes to measure now, those to end, and why a shortage is nobody's of these (empty: there is none such)."""

    look: tuple[str, ...] = ()
    over: tuple[Excess, ...] = ()
    unexplained: str = ""


def decide(watched: Mapping[str, Watched], fallen: Space, shortage: Shortage | None = None) -> Decision:
    """What follows from the last measurements, now that free space has fallen by ``fallen`` in all."""
    over = tuple(found for key, one in watched.items() if (found := _excess(key, one)))
    look = [key for key, one in watched.items() if _may_be_over(one, fallen)]
    if shortage is None or over:
        return Decision(tuple(look), over)
    if stale := [key for key, one in watched.items() if one.seen.of(shortage.what) < shortage.since]:
        return Decision(tuple(dict.fromkeys((*look, *stale))))
    culprit = _culprit(watched, shortage)
    if culprit is None:
        free, kept = amount(shortage.what, shortage.free), amount(shortage.what, shortage.kept)
        why = f"the disk of the sandboxes has {free} left, {kept} must stay free, and it is not the sandboxes' files that fill it"
        return Decision(tuple(look), (), why)
    return Decision(tuple(look), (culprit,))


def earliest(watched: Iterable[Watched]) -> Space | None:
    """By how much free space must fall in all before any of them may be over its limit; None where there is none."""
    levels = [one.due() for one in watched]
    return Space(min(at.bytes for at in levels), min(at.inodes for at in levels)) if levels else None


def exceeds(fallen: Space, level: Space) -> bool:
    return fallen.bytes > level.bytes or fallen.inodes > level.inodes


def _may_be_over(one: Watched, fallen: Space) -> bool:
    return exceeds(fallen, one.due())


def _excess(key: str, one: Watched) -> Excess | None:
    kinds: tuple[What, What] = ("storage", "inodes")
    for what in kinds:
        measured, permitted = one.used.space.of(what), one.limits.of(what)
        if measured > permitted:
            return Excess(key, what, measured, permitted, whole=one.used.whole)
    return None


def _culprit(watched: Mapping[str, Watched], shortage: Shortage) -> Excess | None:
    """Who holds most, if the sandboxes together hold enough to be the cause."""
    held = {key: one.used.space.of(shortage.what) for key, one in watched.items()}
    if not held or not sum(held.values()) or sum(held.values()) * _EXPLAINS < shortage.lost:
        return None
    key = max(held, key=held.__getitem__)
    return Excess(key, shortage.what, held[key], shortage.kept, machine=True, whole=watched[key].used.whole)


def raised(one: Watched) -> Watched:
    """After an excess was told: what runs in the sandbox from then on has a quarter of its limits more, and no end of it."""
    space, limits = one.used.space, one.limits
    permitted = Space(
        max(limits.bytes, space.bytes + limits.bytes // 4) if space.bytes > limits.bytes else limits.bytes,
        max(limits.inodes, space.inodes + limits.inodes // 4) if space.inodes > limits.inodes else limits.inodes,
    )
    return msgspec.structs.replace(one, limits=permitted)


def fell(before: Space, now: Space) -> Space:
    """By how much free space fell; what rose counts as 0."""
    return Space(max(0, before.bytes - now.bytes), max(0, before.inodes - now.inodes))


def plus(one: Space, other: Space) -> Space:
    return Space(one.bytes + other.bytes, one.inodes + other.inodes)


def kept(room: Room) -> Space:
    """What of the machine's disk must stay free: half of what is free now, where that is less than it should be already."""
    wanted = Space(max(RESERVE_BYTES, room.total.bytes // RESERVE_SHARE), room.total.inodes // RESERVE_SHARE)
    return Space(
        wanted.bytes if room.free.bytes > wanted.bytes else room.free.bytes // 2,
        wanted.inodes if room.free.inodes > wanted.inodes else room.free.inodes // 2,
    )


def full(found: Room) -> bool:
    """Whether nearly nothing is left at all: then programs fail through no fault of theirs."""
    no_inodes = found.total.inodes > 0 and found.free.inodes < FULL[1]
    return found.free.bytes < FULL[0] or no_inodes


def amount(what: What, number: int) -> str:
    """``8.0 MiB``, or ``20000 files``."""
    if what == "inodes":
        return f"{number} files"
    size, units = float(number), iter(("KiB", "MiB", "GiB"))
    if size < 1024:
        return f"{number} bytes"
    unit = ""
    while size >= 1024 and (larger := next(units, "")):
        size, unit = size / 1024, larger
    return f"{size:.1f} {unit}"
