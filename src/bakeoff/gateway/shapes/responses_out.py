"""Write answers as OpenAI's responses, whole and as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bakeoff.gateway.shapes import sse
from bakeoff.gateway.shapes.base import Ask, Call, Rendered, Turn
from bakeoff.gateway.shapes.parts import as_json, as_stream, calls_of, model_of, pieces, without_nulls
from bakeoff.gateway.shapes.reading import BadShape, dump_bytes, load, total
from bakeoff.records.results import Usage

_CREATED = 0


def render_answer(ask: Ask, turn: Turn, *, seq: int) -> Rendered:
    output = list(_items(ask, turn, seq))
    response = _response(ask, turn, seq)
    if ask.stream:
        return as_stream(_events(response, output, _usage(turn.usage)))
    return as_json({**response, "output": output, "usage": _usage(turn.usage)})


def _response(ask: Ask, turn: Turn, seq: int) -> dict[str, Any]:
    """The response without its output and usage."""
    cut = turn.stop == "length"
    return {
        "id": turn.id or f"resp_{seq:06}",
        "object": "response",
        "created_at": _CREATED,
        "status": "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "instructions": None,
        "metadata": {},
        "model": model_of(ask, turn),
        "output": [],
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None,
    }


def _items(ask: Ask, turn: Turn, seq: int) -> Iterator[dict[str, Any]]:
    if turn.reasoning:
        summary = [{"type": "summary_text", "text": turn.reasoning}]
        yield {"type": "reasoning", "id": f"rs_{seq:06}", "summary": summary}
    if turn.text:
        part: dict[str, Any] = (
            {"type": "refusal", "refusal": turn.text}
            if turn.stop == "refusal"
            else {"type": "output_text", "text": turn.text, "annotations": []}
        )
        yield {
            "type": "message",
            "id": f"msg_{seq:06}",
            "status": "completed",
            "role": "assistant",
            "content": [part],
        }
    kinds = {tool.name: tool.kind for tool in ask.tools}
    for index, call in enumerate(calls_of(turn, "call", seq)):
        yield {"id": f"fc_{seq:06}_{index}", "status": "completed", **_call(call, kinds.get(call.name, "function"))}


def _call(call: Call, kind: str) -> dict[str, Any]:
    """A call in the form in which its tool was offered."""
    if kind == "local_shell":
        return {"type": "local_shell_call", "call_id": call.id, "action": _action(call.arguments)}
    space, dot, name = call.name.rpartition(".")
    named = {"namespace": space, "name": name} if dot else {"name": call.name}
    if kind == "custom":
        return {"type": "custom_tool_call", "call_id": call.id, **named, "input": call.arguments}
    return {"type": "function_call", "call_id": call.id, **named, "arguments": call.arguments}


def _action(arguments: str) -> object:
    try:
        return load(arguments.encode())
    except BadShape:
        return {"type": "exec", "command": [arguments], "env": {}}


def _usage(usage: Usage) -> dict[str, Any] | None:
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    return without_nulls(
        {
            "input_tokens": usage.input_tokens or 0,
            "input_tokens_details": None if usage.cached_tokens is None else {"cached_tokens": usage.cached_tokens},
            "output_tokens": usage.output_tokens or 0,
            "total_tokens": total(usage.input_tokens, usage.output_tokens),
        }
    )


def _events(response: dict[str, Any], output: list[dict[str, Any]], usage: dict[str, Any] | None) -> Iterator[bytes]:
    begun = {**response, "status": "in_progress", "incomplete_details": None}
    ended = "response.incomplete" if response["status"] == "incomplete" else "response.completed"
    fields: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
    ]
    for index, item in enumerate(output):
        fields.append(("response.output_item.added", {"output_index": index, "item": _empty(item)}))
        for name, more in _inner(item):
            fields.append((name, {"output_index": index, "item_id": item["id"], **more}))
        fields.append(("response.output_item.done", {"output_index": index, "item": item}))
    fields.append((ended, {"response": {**response, "output": output, "usage": usage}}))
    for number, (name, more) in enumerate(fields):
        yield sse.render(dump_bytes({"type": name, "sequence_number": number, **more}), name)


_FILLED = {"message": "content", "reasoning": "summary", "function_call": "arguments", "custom_tool_call": "input"}


def _empty(item: dict[str, Any]) -> dict[str, Any]:
    """An item as it is when it begins."""
    field = _FILLED.get(item["type"])
    empty = item if field is None else {**item, field: type(item[field])()}
    return {**empty, "status": "in_progress"} if "status" in item else empty


def _inner(item: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events that fill an item."""
    kind = item["type"]
    if kind == "message":
        yield from _part(item["content"][0])
    elif kind == "reasoning":
        text = item["summary"][0]["text"]
        place = {"summary_index": 0}
        blank = {"type": "summary_text", "text": ""}
        yield "response.reasoning_summary_part.added", {**place, "part": blank}
        for piece in pieces(text):
            yield "response.reasoning_summary_text.delta", {**place, "delta": piece}
        yield "response.reasoning_summary_text.done", {**place, "text": text}
        yield "response.reasoning_summary_part.done", {**place, "part": {**blank, "text": text}}
    elif kind in ("function_call", "custom_tool_call"):
        field = _FILLED[kind]
        name = f"response.{kind}_{field}"
        for piece in pieces(item[field]):
            yield f"{name}.delta", {"delta": piece}
        yield f"{name}.done", {field: item[field]}


def _part(part: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events that fill the one part of a message."""
    field, name = ("refusal", "response.refusal") if part["type"] == "refusal" else ("text", "response.output_text")
    place = {"content_index": 0}
    yield "response.content_part.added", {**place, "part": {**part, field: ""}}
    for piece in pieces(part[field]):
        yield f"{name}.delta", {**place, "delta": piece}
    yield f"{name}.done", {**place, field: part[field]}
    yield "response.content_part.done", {**place, "part": part}
