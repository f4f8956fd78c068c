"""A fixture's exchanges as exports read them."""

from __future__ import annotations

from collections.abc import Iterator

from bakeoff.gateway.coding import decode
from bakeoff.gateway.exports.facts import CONVERSING
from bakeoff.gateway.shapes.all import parse_answer, parse_request
from bakeoff.gateway.shapes.base import Ask, Turn
from bakeoff.gateway.shapes.reading import BadShape
from bakeoff.records.exchanges import Exchange, Headers
from bakeoff.records.fixtures import Fixture


def pairs(fixture: Fixture) -> Iterator[tuple[Exchange, Ask, Turn | None]]:
    """The turns of a fixture, one at a time, with what each asked and was answered; other requests are passed over.

    An answer that is an error, or that cannot be read, is None. Raises InputError where bodies are missing or were changed.
    """
    for exchange in fixture.exchanges:
        if exchange.api not in CONVERSING or exchange.method != "POST":
            continue
        sent = fixture.body(exchange, "request")
        try:
            ask = parse_request(exchange.api, exchange.path, decode(sent, exchange.request_headers))
        except BadShape:
            yield exchange, Ask(api=exchange.api, model=exchange.model_requested), None
            continue
        yield exchange, ask, _answer(fixture, exchange, ask)


def _answer(fixture: Fixture, exchange: Exchange, ask: Ask) -> Turn | None:
    if exchange.status is None or not 200 <= exchange.status < 300:
        return None
    try:
        body = decode(fixture.body(exchange, "response"), exchange.response_headers)
        turn = parse_answer(exchange.api, body, stream=_streamed(exchange, ask))
    except BadShape:
        return None
    empty = not (turn.text or turn.calls or turn.reasoning)
    return None if empty and exchange.end != "complete" else turn


def _streamed(exchange: Exchange, ask: Ask) -> bool:
    """Whether the answer is a stream. Gemini's may be one array of JSON; others say what they are."""
    kind = _header(exchange.response_headers, "content-type")
    return "event-stream" in kind or (ask.stream and (exchange.api == "gemini" or "json" not in kind))


def _header(headers: Headers, name: str) -> str:
    return next((value.lower() for key, value in headers if key.lower() == name), "")
