"""Which recorded exchange answers a request. Decides by keys alone, and does no I/O."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence

from msgspec import Struct

from bakeoff.gateway.replay.asked import Asked
from bakeoff.records.exchanges import Api
from bakeoff.records.replays import Match

STATELESS = ("models", "anthropic-count")
"""Requests that neither change nor continue anything: their last answer may be given again."""


class Recorded(Struct, frozen=True):
    """A recorded request. ``index`` is its place among the exchanges."""

    index: int
    seq: int
    api: Api
    conversation: str
    asked: Asked


class Diverged(Struct, frozen=True):
    """Nothing was recorded for a request. ``nearest`` is the recorded request most like it, None where none has its API.

    ``shared`` counts the first messages that both have. ``repeat``: it was recorded, and has been answered already.
    """

    nearest: Recorded | None
    shared: int = 0
    repeat: bool = False


class Exhausted(Struct, frozen=True):
    """Everything that was recorded of the request's conversation, or of its API, has been used. ``last`` was the end of it."""

    last: Recorded


class Matcher:
    """Serves each recorded exchange once: equal requests in the order in which they were recorded, different ones in any order."""

    def __init__(self, recorded: Sequence[Recorded], mode: Match = "normalised") -> None:
        self.recorded = tuple(recorded)
        self._mode: Match = mode
        self._queues: dict[tuple[Api, bytes], deque[Recorded]] = defaultdict(deque)
        self._served: dict[tuple[Api, bytes], Recorded] = {}
        self._open = {one.index for one in self.recorded}
        self._last_miss: tuple[Api, bytes] | None = None
        self.misses = 0
        for one in self.recorded:
            self._queues[self._slot(one.api, one.asked)].append(one)

    def take(self, api: Api, asked: Asked) -> Recorded | Diverged | Exhausted:
        """The exchange that answers the request, which is used up by that; or why there is none.

        ``misses`` counts requests without an answer; a client that tries the same one again is counted once.
        """
        slot = self._slot(api, asked)
        if queue := self._queues.get(slot):
            self._last_miss = None
            found = queue.popleft()
            self._open.discard(found.index)
            self._served[slot] = found
            return found
        if api in STATELESS and slot in self._served:
            return self._served[slot]
        if self._last_miss != (api, asked.key):
            self._last_miss = (api, asked.key)
            self.misses += 1
        return self._missed(api, asked, slot)

    def has(self, api: Api, asked: Asked) -> bool:
        """Whether ``take`` would find an answer."""
        slot = self._slot(api, asked)
        return bool(self._queues.get(slot)) or (api in STATELESS and slot in self._served)

    def unused(self) -> tuple[Recorded, ...]:
        """What was recorded and not asked for."""
        return tuple(one for one in self.recorded if one.index in self._open)

    def _slot(self, api: Api, asked: Asked) -> tuple[Api, bytes]:
        return (api, b"" if self._mode == "sequential" else asked.key)

    def _missed(self, api: Api, asked: Asked, slot: tuple[Api, bytes]) -> Diverged | Exhausted:
        alike = [one for one in self.recorded if one.api == api]
        if not alike:
            return Diverged(nearest=None)
        if all(one.index not in self._open for one in alike):
            return Exhausted(last=alike[-1])
        if ended := self._ended(alike, asked):
            return Exhausted(last=ended)
        if repeated := self._served.get(slot):
            return Diverged(nearest=repeated, shared=len(asked.messages), repeat=True)
        nearest = max(alike, key=lambda one: self._likeness(one, asked))
        return Diverged(nearest=nearest, shared=shared(nearest.asked, asked))

    def _ended(self, alike: list[Recorded], asked: Asked) -> Recorded | None:
        """The last request of a conversation that is used up, where this one goes on after it."""
        ends: dict[str, Recorded] = {}
        for one in alike:
            ends[one.conversation] = one
        unused = {one.conversation for one in alike if one.index in self._open}
        for conversation, end in ends.items():
            said = end.asked.messages
            goes_on = 0 < len(said) < len(asked.messages) and asked.messages[: len(said)] == said
            if conversation not in unused and goes_on and end.asked.head == asked.head:
                return end
        return None

    def _likeness(self, one: Recorded, asked: Asked) -> tuple[int, bool, bool, int, int]:
        same, said = shared(one.asked, asked), len(asked.messages)
        # Where all of the request stands at the beginning of a longer one, an earlier one is meant whose end differs.
        return (
            same - (same == said < len(one.asked.messages)),
            one.index in self._open,
            one.asked.head == asked.head,
            -abs(len(one.asked.messages) - len(asked.messages)),
            -one.index,
        )


def shared(one: Asked, other: Asked) -> int:
    """How many messages two requests have in common from the first on."""
    count = 0
    for left, right in zip(one.messages, other.messages, strict=False):
        if left != right:
            break
        count += 1
    return count
