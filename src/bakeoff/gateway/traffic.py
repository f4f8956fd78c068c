"""What passes through the gateway: a request, an answer, and who gives answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Protocol

from msgspec import Struct

from bakeoff.records.exchanges import Api, End, Headers, Via
from bakeoff.records.results import Usage


class Body(Protocol):
    """The bytes of a request, in memory or in a temporary file that ends with the exchange."""

    size: int
    sha256: str

    def read(self) -> bytes: ...

    def pieces(self) -> Iterator[bytes]:
        """The same bytes, in pieces of at most 256 KiB."""
        ...


class Request(Struct, frozen=True, kw_only=True):
    """One request of an agent. ``path`` comes after the trial's address and the provider's prefix, and keeps its query.

    ``provider`` is the name in the path's prefix, or the one that the config's model has. ``seq`` counts from 1 in a trial.
    """

    seq: int
    api: Api
    provider: str
    method: str
    path: str
    headers: Headers
    body: Body
    model: str | None = None
    stream: bool = False


class Answer(Struct, frozen=True, kw_only=True):
    """The head of an answer, and its body in the pieces in which it came. The body is closed by whoever took it.

    The body raises ``Broken`` where whoever answers breaks off. ``model_sent`` and ``tries`` are for the record.
    ``provider`` is who answered, where that is not the one that was asked. ``advice``: what to do about a status that is a failure.
    """

    status: int
    headers: Headers
    body: AsyncIterator[bytes]
    via: Via
    model_sent: str | None = None
    tries: int = 1
    provider: str = ""
    advice: str = ""


class Broken(Exception):
    """An answer that broke off before its end; what came of it has been passed on."""


class Refused(Exception):
    """The gateway answers a request itself, with an error that the agent's API can show.

    ``kind`` is the error's type in the body (``replay_diverged``, ``budget_exceeded``, …). ``final``: the trial ends at once,
    with the outcome of that name. ``detail`` is for the record alone (it may be long); ``message`` goes to the agent.
    """

    def __init__(self, status: int, kind: str, message: str, *, final: bool = False, detail: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.final = final
        self.detail = detail


class Source(Protocol):
    """Who answers the requests of one trial: a provider, a script or a fixture."""

    async def answer(self, request: Request) -> Answer:
        """Raises Refused where there is no answer, ModelError where a provider failed for good and nothing was sent yet."""
        ...

    async def close(self) -> None: ...


NOT_KNOWN = Usage()


class Entry(Protocol):
    """One exchange on its way to the disk. Every method returns quickly; ``chunk`` waits while the writer's bounded queue is full.

    ``end`` never waits, so that no cancellation can come between an answer and its record.
    """

    async def head(self, status: int, headers: Headers, *, via: Via, model_sent: str | None, tries: int) -> None: ...
    async def chunk(self, data: bytes) -> None: ...
    async def end(
        self, end: End, *, error: str = "", usage: Usage = NOT_KNOWN, model_returned: str | None = None
    ) -> None:
        """Called once, last, whatever came before it."""
        ...


class Recorder(Protocol):
    """Where the exchanges of one trial are written."""

    async def begin(self, request: Request) -> Entry: ...
