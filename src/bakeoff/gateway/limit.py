"""How many requests may be at one provider at once: as many as it bears, found by adding a little and dividing by much."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

CUT = 0.6
"""What is left of the limit after a refusal."""

MOST = 1000.0


class Limit(Struct, frozen=True):
    """The state of the limit. ``most`` is how many may run, ``running`` how many do; nothing is sent before ``closed_until``.

    ``cut_at`` is when the limit was last made smaller: refusals of requests that were sent before then tell nothing new.
    """

    most: float = MOST
    running: int = 0
    closed_until: float = 0.0
    cut_at: float = -1.0


def admits(limit: Limit, now: float) -> bool:
    """Whether one more may be sent."""
    return limit.running < max(1, int(limit.most)) and now >= limit.closed_until


def begun(limit: Limit) -> Limit:
    return replace(limit, running=limit.running + 1)


def ended(limit: Limit) -> Limit:
    return replace(limit, running=limit.running - 1)


def bore(limit: Limit) -> Limit:
    """An answer came: after as many of them as may run at once there may be one more."""
    return replace(limit, most=min(MOST, limit.most + 1 / max(1.0, limit.most)))


def refused(limit: Limit, sent: float, now: float, after: float | None) -> Limit:
    """The provider had too much of a request sent at ``sent``; ``after``: it said to wait so many seconds."""
    closed = limit.closed_until if after is None else max(limit.closed_until, now + after)
    if sent <= limit.cut_at:
        return replace(limit, closed_until=closed)
    most = max(1.0, min(limit.most, float(limit.running)) * CUT)
    return replace(limit, most=most, cut_at=now, closed_until=closed)


class Gate:
    """Lets requests of many trials through to one provider. Who waits is served in turns, trial by trial, each in its order."""

    def __init__(self, limit: Limit | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit or Limit()
        self._clock = clock
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def free(self) -> bool:
        """Whether ``enter`` would return at once."""
        return not self._queues and admits(self.limit, self._clock())

    async def enter(self, trial: str) -> None:
        """Wait for a place. Whoever has one gives it back with ``leave``."""
        if self.free:
            self.limit = begun(self.limit)
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(trial, deque()).append(place)
        self._serve()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave()
            raise

    def leave(self) -> None:
        self.limit = ended(self.limit)
        self._serve()

    def bore(self) -> None:
        self.limit = bore(self.limit)
        self._serve()

    def refused(self, sent: float, after: float | None) -> None:
        self.limit = refused(self.limit, sent, self._clock(), after)

    def now(self) -> float:
        return self._clock()

    def _serve(self) -> None:
        """Let in as many as may go, and come back when the provider opens again."""
        while self._queues and admits(self.limit, self._clock()):
            trial, queue = self._queues.popitem(last=False)
            place = queue.popleft()
            while place.done() and queue:
                # Whoever waited for this one has gone: that is no turn.
                place = queue.popleft()
            if queue:
                self._queues[trial] = queue
            if not place.done():
                self.limit = begun(self.limit)
                place.set_result(None)
        closed = self.limit.closed_until - self._clock()
        if self._queues and closed > 0 and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(closed, self._again)

    def _again(self) -> None:
        self._timer = None
        self._serve()
