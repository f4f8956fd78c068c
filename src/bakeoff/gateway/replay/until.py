"""The beginning of a conversation from a fixture, the rest from somebody else."""

from __future__ import annotations

import msgspec

from bakeoff.errors import InputError
from bakeoff.gateway.replay.source import Replay
from bakeoff.gateway.traffic import Answer, Request, Source
from bakeoff.records.replays import ReplayReport


class Until:
    """A ``traffic.Source``: a fixture, until the first ``responses`` answers of its main conversation have been given; then ``live``.

    The main conversation is the one with the most requests among those that offer tools. Requests of other conversations are
    answered from the fixture up to the same moment, and live after it. A request that the fixture does not know before that
    moment is refused as in any replay: the beginning is to be the recorded one. The name of the other model is for ``live`` to
    put in: the agent goes on asking for the recorded one.
    """

    def __init__(self, replay: Replay, live: Source, responses: int) -> None:
        """Raises InputError where the main conversation has fewer answers."""
        recorded = replay.main_answers()
        if not 0 <= responses <= recorded:
            raise InputError(
                "the fixture's main conversation has fewer answers",
                where="--until",
                found=str(responses),
                wanted=f"a number from 0 to {recorded}",
            )
        self._replay = replay
        self._source = live
        self._left = responses
        self._live = 0

    async def answer(self, request: Request) -> Answer:
        """Raises Refused and ModelError as the replay or the live source does."""
        if self._left <= 0:
            self._live += 1
            return await self._source.answer(request)
        found = self._replay.find(request)
        if self._replay.is_main_answer(found):
            self._left -= 1
        return await self._replay.give(found, request)

    async def close(self) -> None:
        try:
            await self._replay.close()
        finally:
            await self._source.close()

    def unused(self) -> tuple[int, ...]:
        """The ``seq`` of recorded exchanges that were not asked for: those after the last answer that was to be replayed among them."""
        return self._replay.unused()

    def report(self) -> ReplayReport:
        """The replay's, with the number of requests that were answered live."""
        return msgspec.structs.replace(self._replay.report(), live=self._live)
