"""A fixture as a replay needs it: an index of what was asked, small beside the bodies, which are read when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from bakeoff.gateway.replay.asked import Asked, Reads, strict_key
from bakeoff.gateway.replay.match import Recorded
from bakeoff.records.exchanges import Api, Exchange, Headers

CONVERSATIONS: tuple[Api, ...] = ("openai-chat", "openai-responses", "anthropic-messages", "gemini")


class Recording(Protocol):
    """The exchanges of one trial, in the order in which they were asked."""

    @property
    def exchanges(self) -> Sequence[Exchange]: ...

    def body(self, exchange: Exchange, which: Literal["request", "response"], /) -> bytes:
        """The exact bytes, as they were stored."""
        ...


def index(recording: Recording, reader: Reads, *, strict: bool = False, raw: bool = True) -> list[Recorded]:
    """Everything that a replay can answer: not what the gateway answered itself (its refusals), and no ``HEAD``.

    Without ``raw`` bytes all conversations count as of one API, since it is not known which one an agent will use. Reads every
    request once; about 0.2 ms for each of 100 KB.
    """
    same: dict[bytes, bytes] = {}
    out: list[Recorded] = []
    for number, exchange in enumerate(recording.exchanges):
        if exchange.via == "gateway" or exchange.method == "HEAD":
            continue
        body = recording.body(exchange, "request")
        plain = decoded(body, exchange.request_headers)
        asked = reader.read(exchange.api, exchange.method, exchange.path, plain)
        key = strict_key(exchange.api, exchange.method, exchange.path, plain) if strict else asked.key
        # A conversation's messages come again in each of its requests: their digests are held once.
        messages = tuple(same.setdefault(one, one) for one in asked.messages)
        kept = Asked(key, asked.head, messages, stream=asked.stream, tools=asked.tools)
        api = exchange.api if raw else one_api(exchange.api)
        out.append(Recorded(number, exchange.seq, api, exchange.conversation, kept))
    return out


def one_api(api: Api) -> Api:
    """One API for all in which conversations are held."""
    return "openai-chat" if api in CONVERSATIONS else api


def decoded(body: bytes, headers: Headers) -> bytes:
    """A body without its content encoding. One that does not hold to its header is taken as it is: recorders may have decoded it."""
    if not any(name.lower() == "content-encoding" for name, _ in headers):
        return body
    from bakeoff.gateway.coding import decode
    from bakeoff.gateway.shapes.reading import BadShape

    try:
        return decode(body, headers)
    except BadShape:
        return body
