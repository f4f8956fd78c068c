"""A fixture in the place of a provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from bakeoff.errors import InputError
from bakeoff.gateway.replay.asked import MESSAGES, Asked, Reader, Reads, strict_key
from bakeoff.gateway.replay.declared import NOTHING, Volatile
from bakeoff.gateway.replay.difference import describe
from bakeoff.gateway.replay.given import give
from bakeoff.gateway.replay.match import Diverged, Exhausted, Matcher, Recorded
from bakeoff.gateway.replay.recorded import CONVERSATIONS, Recording, decoded, index, one_api
from bakeoff.gateway.traffic import Answer, Refused, Request
from bakeoff.records.exchanges import Api, Exchange
from bakeoff.records.replays import Match, ReplayReport

DIVERGED = "replay_diverged"
EXHAUSTED = "replay_exhausted"

Redact = Callable[[bytes], bytes]


class Found(Struct, frozen=True):
    """A recorded exchange that answers a request. ``stream``: a stream was recorded; ``anew``: the request wants another form."""

    exchange: Exchange
    stream: bool
    anew: bool


class Replay:
    """A ``traffic.Source`` that answers from recorded exchanges, each once, and refuses what was not recorded.

    A refusal is final: 409 ``replay_diverged`` with the difference against the nearest recorded request as its detail, or 409
    ``replay_exhausted`` where all that was recorded has been used. Requests of ``match.STATELESS`` APIs may be repeated.
    """

    def __init__(
        self, recording: Recording, *, match: Match, reader: Reads, redact: Redact | None, timed: bool, raw: bool
    ) -> None:
        self._recording = recording
        self._mode: Match = match
        self._plain = reader
        self._live = reader.redacting(redact) if redact else reader
        self._redact = redact
        self._timed = timed
        self._raw = raw
        self._matcher = Matcher(index(recording, reader, strict=match == "strict", raw=raw), match)
        self._main = main_conversation(self._matcher.recorded)
        self._served = 0
        self._ended: tuple[str, int | None, str] = ("", None, "")

    @classmethod
    def open(
        cls,
        recording: Recording,
        *,
        match: Match = "normalised",
        volatile: Volatile = NOTHING,
        roots: Mapping[str, tuple[str, ...]] | None = None,
        redact: Redact | None = None,
        timed: bool = False,
        raw: bool = True,
    ) -> Replay:
        """Index a fixture: blocks while every request of it is read once.

        ``volatile`` is what differs from run to run of the agent, ``roots`` the places and names of the recorded trial and of this
        one (see ``roots.joined``). ``redact`` does to a live request what the recorder did to what it stored. ``timed`` gives each
        chunk at its recorded time, rather than at once. Without ``raw`` bytes (an import) requests are compared by what is said in them,
        through whichever API, and answers are written for it. Raises InputError for what cannot be read, and for a strict match
        without raw bytes.
        """
        if raw:
            reader: Reads = Reader(volatile, roots or {})
        elif match == "strict":
            raise InputError(
                "an imported fixture has no raw bytes to compare",
                where="--match",
                found=match,
                wanted="normalised or sequential",
            )
        else:
            from bakeoff.gateway.replay.said import SaidReader, tells_system

            reader = SaidReader(volatile, roots or {}, system=tells_system(recording))
        return cls(recording, match=match, reader=reader, redact=redact, timed=timed, raw=raw)

    async def answer(self, request: Request) -> Answer:
        """Raises Refused where the fixture has no answer, and ModelError where it says that none came."""
        return await self.give(self.find(request), request)

    def find(self, request: Request) -> Found:
        """Take the recorded exchange that answers a request: it is used up by that. Raises Refused where there is none."""
        body = decoded(request.body.read(), request.headers)
        asked = self._asked(request, body)
        found = self._matcher.take(self._api(request), asked)
        if isinstance(found, Diverged):
            raise self._diverged(found, request, asked, body)
        if isinstance(found, Exhausted):
            raise self._exhausted(found)
        self._served += 1
        anew = found.asked.stream != asked.stream or (not self._raw and request.api in CONVERSATIONS)
        return Found(self._recording.exchanges[found.index], found.asked.stream, anew)

    async def give(self, found: Found, request: Request) -> Answer:
        """The answer that was recorded. Raises ModelError where none came."""
        body = self._recording.body(found.exchange, "response")
        return await give(found.exchange, body, request, stream=found.stream, anew=found.anew, timed=self._timed)

    async def close(self) -> None:
        """Nothing is held open."""

    def is_main_answer(self, found: Found) -> bool:
        """Whether it is an answer, not an error, to the main conversation (see ``main_conversation``)."""
        return _answered(found.exchange) and found.exchange.conversation == self._main

    def main_answers(self) -> int:
        """How many of those were recorded."""
        return sum(
            _answered(exchange) and exchange.conversation == self._main and exchange.via != "gateway"
            for exchange in self._recording.exchanges
        )

    def unused(self) -> tuple[int, ...]:
        """The ``seq`` of recorded exchanges that were not asked for."""
        return tuple(one.seq for one in self._matcher.unused())

    def report(self) -> ReplayReport:
        """What became of the fixture so far. ``difference`` is of the first request that had no answer."""
        kind, nearest, difference = self._ended
        return ReplayReport(
            match=self._mode,
            served=self._served,
            unused=self.unused(),
            missed=self._matcher.misses,
            ended=DIVERGED if kind == DIVERGED else EXHAUSTED if kind else "",
            nearest=nearest,
            difference=difference,
        )

    def _asked(self, request: Request, body: bytes) -> Asked:
        asked = self._keys(self._live, request, body)
        if self._redact and not self._matcher.has(self._api(request), asked):
            # Redacting the parts of a body is quick, and nearly always the same as redacting the whole.
            asked = self._keys(self._plain, request, self._redact(body))
        return asked

    def _api(self, request: Request) -> Api:
        return request.api if self._raw else one_api(request.api)

    def _keys(self, reader: Reads, request: Request, body: bytes) -> Asked:
        asked = reader.read(request.api, request.method, request.path, body)
        if self._mode != "strict":
            return asked
        key = strict_key(request.api, request.method, request.path, self._redact(body) if self._redact else body)
        return msgspec.structs.replace(asked, key=key)

    def _diverged(self, miss: Diverged, request: Request, asked: Asked, body: bytes) -> Refused:
        detail = self._difference(miss, request, asked, body)
        if not self._ended[0]:
            self._ended = (DIVERGED, miss.nearest.seq if miss.nearest else None, detail)
        head, *lines = detail.split("\n")
        place = f"; {lines[0].removesuffix(':')} differs" if lines else ""
        told = f"the fixture has no answer to this request: {head}{place}"
        return Refused(409, DIVERGED, told, final=True, detail=detail)

    def _exhausted(self, miss: Exhausted) -> Refused:
        told = f"the fixture has ended: request {miss.last.seq} was the last that was recorded here, and it has been answered"
        if not self._ended[0]:
            self._ended = (EXHAUSTED, miss.last.seq, told)
        return Refused(409, EXHAUSTED, told, final=True, detail=told)

    def _difference(self, miss: Diverged, request: Request, asked: Asked, body: bytes) -> str:
        near = miss.nearest
        if near is None:
            return f"nothing of the API {request.api} was recorded ({request.method} {request.path[:200]})"
        if miss.repeat:
            return f"the request is equal to recorded request {near.seq}, which has been answered already"
        exchange = self._recording.exchanges[near.index]
        recorded = decoded(self._recording.body(exchange, "request"), exchange.request_headers)
        live = self._redact(body) if self._redact else body
        messages = MESSAGES.get(request.api, "") if self._raw else "messages"
        was, now = self._plain.readable(exchange.api, recorded), self._plain.readable(request.api, live)
        lines = describe(was, now, messages)
        if not lines and exchange.path != request.path:
            lines = f"path:\n  -{exchange.path[:200]}\n  +{request.path[:200]}"
        if not lines:
            lines = _bytes(recorded, live)
        return f"{_head(near, miss, asked)}\n{lines}"


def main_conversation(recorded: tuple[Recorded, ...]) -> str:
    """The conversation with the most requests, of those that offer tools where any does; of several the first. Empty for none."""
    counts: dict[str, int] = {}
    some = any(one.asked.tools for one in recorded)
    for one in recorded:
        if one.asked.tools or not some:
            counts[one.conversation] = counts.get(one.conversation, 0) + 1
    return max(counts, key=lambda name: counts[name], default="")


def _answered(exchange: Exchange) -> bool:
    return exchange.end == "complete" and exchange.status is not None and exchange.status < 400


def _head(near: Recorded, miss: Diverged, asked: Asked) -> str:
    said = f"the nearest recorded request is {near.seq}"
    if not near.asked.messages and not asked.messages:
        return said
    return f"{said}; of {len(near.asked.messages)} recorded and {len(asked.messages)} live messages the first {miss.shared} are equal"


def _bytes(recorded: bytes, live: bytes) -> str:
    """For bodies that say the same in other bytes."""
    size = min(len(recorded), len(live))
    at = next((place for place in range(size) if recorded[place] != live[place]), size)
    cut = slice(max(0, at - 20), at + 40)
    return f"byte {at} of the body:\n  -{recorded[cut]!r}\n  +{live[cut]!r}"
