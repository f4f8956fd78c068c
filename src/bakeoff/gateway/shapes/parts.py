"""What the shapes have in common: conversations put together from an API's items, and texts cut into pieces for a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Literal

import msgspec

from bakeoff.gateway.shapes import sse
from bakeoff.gateway.shapes.base import Ask, Call, Message, Rendered, Turn
from bakeoff.gateway.shapes.reading import BadShape, dump, dump_bytes, items, load_table, string, table
from bakeoff.records.exchanges import Headers

Stop = Literal["end", "tool", "length", "refusal", "other"]

JSON: Headers = (("Content-Type", "application/json"),)
STREAM: Headers = (("Content-Type", "text/event-stream; charset=utf-8"), ("Cache-Control", "no-cache"))

_PIECE = 48


def joined(parts: Iterable[str]) -> str:
    """The texts that are not empty, a line each."""
    return "\n".join(part for part in parts if part)


def merged(messages: Iterable[Message]) -> tuple[Message, ...]:
    """The same messages, with what a model answered at once in one of them, and results in the order of their calls.

    Some agents send the results of calls that ran at once in the order in which those ended, which is another every time.
    """
    out: list[Message] = []
    for message in messages:
        if message.role == "assistant" and out and out[-1].role == "assistant":
            out[-1] = _together(out[-1], message)
        else:
            out.append(message)
    order = {call.id: at for at, call in enumerate(call for message in out for call in message.calls)}
    runs = groupby(out, key=lambda message: message.role == "tool")
    return tuple(
        message
        for results, run in runs
        for message in (sorted(run, key=lambda result: order.get(result.call_id or "", len(order))) if results else run)
    )


def _together(before: Message, after: Message) -> Message:
    return Message(
        "assistant",
        text=joined((before.text, after.text)),
        reasoning=joined((before.reasoning, after.reasoning)),
        calls=before.calls + after.calls,
    )


def content_text(content: object) -> str:
    """The text of a message's content, in any API: a string, or parts of which those without text are named in brackets."""
    if isinstance(content, str):
        return content
    return joined(string(part) or part_text(table(part)) for part in items(content))


def part_text(part: dict[str, Any]) -> str:
    """The text of one part of a content; ``[image]`` and the like for what is none."""
    for field in ("text", "refusal"):
        if isinstance(part.get(field), str):
            return part[field]
    kind = string(part.get("type"))
    return f"[{kind}]" if kind else ""


def arguments_text(value: object) -> str:
    """The arguments of a call as JSON text, from an API that has them as an object."""
    return value if isinstance(value, str) else dump({} if value is None else value)


def arguments_table(text: str) -> dict[str, Any]:
    """The arguments of a call as an object, for an API that has them so; what is no object stands under ``arguments``."""
    try:
        return load_table(text.encode()) if text else {}
    except BadShape:
        return {"arguments": text}


def pieces(text: str) -> Iterator[str]:
    """``text`` in pieces of a few words, as a model would stream it."""
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE]


def calls_of(turn: Turn, prefix: str, seq: int) -> tuple[Call, ...]:
    """The turn's calls, those without an id with one that follows from ``seq``."""
    return tuple(
        call if call.id else msgspec.structs.replace(call, id=f"{prefix}_{seq:06}_{index}")
        for index, call in enumerate(turn.calls)
    )


def stop_of(turn: Turn) -> Stop:
    """Why the turn ended, with the calls that it has for a reason."""
    return "tool" if turn.calls and turn.stop == "end" else turn.stop


def model_of(ask: Ask, turn: Turn) -> str:
    return turn.model or ask.model or "unknown"


def events(body: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name and the object of each event of a stream; those that hold no JSON object are passed over, as a cut one."""
    for event in sse.parse(body):
        try:
            data = load_table(event.data)
        except BadShape:
            continue
        yield event.name, data


def as_json(value: object, status: int = 200) -> Rendered:
    return Rendered(status, JSON, (dump_bytes(value),))


def as_stream(chunks: Iterable[bytes]) -> Rendered:
    return Rendered(200, STREAM, tuple(chunks))


def without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}
