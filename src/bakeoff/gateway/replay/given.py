"""A recorded answer as it goes out again: its status, headers and chunks, at once or in the recorded time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from msgspec import Struct

from bakeoff.errors import ModelError
from bakeoff.gateway.replay.recorded import decoded
from bakeoff.gateway.traffic import Answer, Broken, Request
from bakeoff.records.exchanges import Api, Exchange, Headers

HELD_SEC = 600.0
"""How long an answer that the agent broke off is held open for it to break it off again. Its own limit is mostly shorter."""

_SERVERS = frozenset(("content-length", "transfer-encoding", "connection", "keep-alive", "trailer"))
"""Headers of one connection, which whoever serves the answer sets."""


class Piece(Struct, frozen=True):
    """``at`` is in microseconds since the request."""

    at: int
    data: bytes


async def give(
    exchange: Exchange, body: bytes, request: Request, *, stream: bool, anew: bool = False, timed: bool = False
) -> Answer:
    """The answer to ``request`` that was recorded in ``exchange``, whose response is ``body``.

    ``stream``: a stream was recorded. ``anew``: the answer is written anew in the API and the form that the request wants, as far as it
    is a whole one. An answer that was cut is cut at the same place (Broken). One that the agent broke off is held open
    there. Raises ModelError where nothing had come.
    """
    begun = time.monotonic()
    if exchange.status is None:
        if exchange.end == "cancelled":
            await asyncio.sleep(HELD_SEC)
        raise ModelError(f"as recorded, nothing came: {exchange.error or exchange.end}")
    status, headers, pieces = exchange.status, exchange.response_headers, split(exchange, body)
    if not _accepts(request.headers, headers):
        plain = decoded(body, headers)
        headers = _without(headers, "content-encoding")
        pieces = [Piece(pieces[-1].at, plain)] if pieces else []
    if anew and exchange.end == "complete" and status < 400:
        whole = decoded(b"".join(piece.data for piece in pieces), headers)
        if rendered := reshape(exchange.api, request, whole, stream=stream, seq=exchange.seq):
            headers, chunks = rendered
            pieces = [Piece(pieces[-1].at if pieces else 0, chunk) for chunk in chunks]
    body_of = _body(pieces, exchange, begun if timed else None)
    return Answer(
        status=status,
        headers=tuple((name, value) for name, value in headers if name.lower() not in _SERVERS),
        body=body_of,
        via="replayed",
        model_sent=exchange.model_sent,
    )


def split(exchange: Exchange, body: bytes) -> list[Piece]:
    """The chunks in which an answer came. Borders that do not lie in the body are passed over; what is left of it comes last."""
    pieces: list[Piece] = []
    done = at = 0
    for micros, end in exchange.chunks:
        at = max(at, micros)
        if done < end <= len(body):
            pieces.append(Piece(at, body[done:end]))
            done = end
    if done < len(body):
        pieces.append(Piece(at, body[done:]))
    return pieces


def reshape(
    api: Api, request: Request, body: bytes, *, stream: bool, seq: int
) -> tuple[Headers, Sequence[bytes]] | None:
    """An answer in the API and the form that ``request`` wants, made from one of ``api``; None where it cannot be read.

    ``stream`` says which form ``body`` has. What only that had (event borders, fields of the provider's own) is lost.
    """
    from bakeoff.gateway.shapes.all import parse_answer, parse_request, render_answer
    from bakeoff.gateway.shapes.reading import BadShape

    try:
        ask = parse_request(request.api, request.path, decoded(request.body.read(), request.headers))
        rendered = render_answer(request.api, ask, parse_answer(api, body, stream=stream), seq=seq)
    except BadShape:
        return None
    return rendered.headers, rendered.chunks


async def _body(pieces: list[Piece], exchange: Exchange, begun: float | None) -> AsyncIterator[bytes]:
    for piece in pieces:
        if begun is not None:
            await asyncio.sleep(max(0.0, begun + piece.at / 1e6 - time.monotonic()))
        yield piece.data
    if exchange.end == "cancelled":
        await asyncio.sleep(HELD_SEC)
    if exchange.end != "complete":
        raise Broken(f"as recorded: {exchange.error or exchange.end}")


def _accepts(asked: Headers, answered: Headers) -> bool:
    """Whether a client takes the content encodings of an answer; one that says nothing takes none."""
    encodings = {item for item in _items(answered, "content-encoding") if item != "identity"}
    taken = [item.partition(";") for item in _items(asked, "accept-encoding")]
    names = {
        name.strip()
        for name, _, quality in taken
        if quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    }
    return encodings <= names or "*" in names


def _items(headers: Headers, wanted: str) -> list[str]:
    return [
        item.strip().lower() for name, value in headers if name.lower() == wanted for item in value.split(",") if item
    ]


def _without(headers: Headers, unwanted: str) -> Headers:
    return tuple((name, value) for name, value in headers if name.lower() != unwanted)
