"""Anthropic's messages, and the count of their tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from bakeoff.gateway.shapes import sse
from bakeoff.gateway.shapes.base import Ask, Call, Message, Rendered, Tool, Turn
from bakeoff.gateway.shapes.parts import (
    Stop,
    arguments_table,
    arguments_text,
    as_json,
    as_stream,
    calls_of,
    content_text,
    events,
    joined,
    merged,
    model_of,
    part_text,
    pieces,
    stop_of,
    without_nulls,
)
from bakeoff.gateway.shapes.reading import (
    count,
    dump_bytes,
    items,
    load_table,
    required_tables,
    string,
    table,
    tables,
    total,
)
from bakeoff.records.exchanges import Api
from bakeoff.records.results import Usage

_STOPS: dict[str, Stop] = {
    "end_turn": "end",
    "stop_sequence": "end",
    "tool_use": "tool",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}
_REASONS = {
    "end": "end_turn",
    "tool": "tool_use",
    "length": "max_tokens",
    "refusal": "refusal",
    "other": "stop_sequence",
}
_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")
_BYTES_A_TOKEN = 4


def parse_request(path: str, body: bytes, api: Api = "anthropic-messages") -> Ask:
    """Raises BadShape."""
    raw = load_table(body)
    system = content_text(raw.get("system"))
    said = (message for item in required_tables(raw, "messages") for message in _messages(item))
    return Ask(
        api=api,
        model=string(raw.get("model")) or None,
        messages=merged([*([Message("system", text=system)] if system else []), *said]),
        tools=tuple(_tool(item) for item in tables(raw.get("tools"))),
        stream=raw.get("stream") is True,
        path=path,
        size=len(body),
    )


def _messages(raw: dict[str, Any]) -> Iterator[Message]:
    """One of the request's messages; the results of calls in it stand first, each on its own."""
    role, content = raw.get("role"), raw.get("content")
    if role == "assistant":
        yield _said(content)
        return
    rest: list[str] = []
    for part in [{"text": content}] if isinstance(content, str) else items(content):
        block = table(part)
        if string(block.get("type")).endswith("tool_result"):
            yield Message(
                "tool", text=content_text(block.get("content")), call_id=string(block.get("tool_use_id")) or None
            )
        else:
            rest.append(part_text(block))
    if text := joined(rest):
        yield Message("system" if role == "system" else "user", text=text)


def _said(content: object) -> Message:
    if isinstance(content, str):
        return Message("assistant", text=content)
    blocks = tables(content)
    return Message(
        "assistant",
        text=joined(string(block.get("text")) for block in blocks if block.get("type") == "text"),
        reasoning=joined(string(block.get("thinking")) for block in blocks if block.get("type") == "thinking"),
        calls=tuple(_call(block) for block in blocks if block.get("type") in _CALLS),
    )


def _call(block: dict[str, Any]) -> Call:
    return Call(string(block.get("id")), string(block.get("name")), arguments_text(block.get("input")))


def _tool(raw: dict[str, Any]) -> Tool:
    kind = string(raw.get("type"))
    return Tool(
        name=string(raw.get("name")) or kind,
        description=string(raw.get("description")),
        schema=table(raw.get("input_schema")),
        kind="function" if kind in ("", "custom") else kind,
    )


def parse_answer(body: bytes, *, stream: bool) -> Turn:
    """Raises BadShape where ``body`` is to be one JSON object and is none."""
    raw = _assembled(body) if stream else load_table(body)
    said = _said(raw.get("content"))
    stop = _STOPS.get(string(raw.get("stop_reason")), "other")
    return Turn(
        text=said.text,
        reasoning=said.reasoning,
        calls=said.calls,
        stop=stop,
        model=string(raw.get("model")) or None,
        id=string(raw.get("id")) or None,
        usage=_usage(table(raw.get("usage")), raw),
    )


def _assembled(body: bytes) -> dict[str, Any]:
    """The answer that a stream's events add up to, in the form it has without a stream."""
    answer: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    usage: dict[str, Any] = {}
    for name, raw in events(body):
        kind = string(raw.get("type")) or name
        if kind == "message_start":
            answer = table(raw.get("message"))
            usage.update(without_nulls(table(answer.get("usage"))))
        elif kind == "content_block_start":
            blocks[count(raw.get("index")) or 0] = dict(table(raw.get("content_block")))
        elif kind == "content_block_delta":
            _extend(blocks.setdefault(count(raw.get("index")) or 0, {}), table(raw.get("delta")))
        elif kind == "message_delta":
            answer = {**answer, **without_nulls(table(raw.get("delta")))}
            usage.update(without_nulls(table(raw.get("usage"))))
    content = [blocks[index] for index in sorted(blocks)]
    return {**answer, "content": content or answer.get("content"), "usage": usage}


_FIELDS = {"text_delta": ("text", "text"), "thinking_delta": ("thinking", "thinking")}


def _extend(block: dict[str, Any], delta: dict[str, Any]) -> None:
    kind = string(delta.get("type"))
    if kind in _FIELDS:
        block_kind, field = _FIELDS[kind]
        block["type"] = string(block.get("type")) or block_kind
        block[field] = string(block.get(field)) + string(delta.get(field))
    elif kind == "input_json_delta":
        block["type"] = string(block.get("type")) or _CALLS[0]
        piece = string(delta.get("partial_json"))
        if piece:
            block["input"] = string(block.get("input")) + piece


def _usage(usage: dict[str, Any], raw: dict[str, Any]) -> Usage:
    """Anthropic counts what is read from and written to its cache apart from the other input. A count of tokens alone has no usage."""
    cached = count(usage.get("cache_read_input_tokens"))
    plain = count(usage.get("input_tokens"))
    if plain is None:
        plain = count(raw.get("input_tokens"))
    return Usage(
        input_tokens=total(plain, cached, count(usage.get("cache_creation_input_tokens"))),
        output_tokens=count(usage.get("output_tokens")),
        cached_tokens=cached,
    )


def render_count(ask: Ask) -> Rendered:
    """A count of tokens that follows from the request's size alone."""
    return as_json({"input_tokens": max(1, ask.size // _BYTES_A_TOKEN)})


def render_answer(ask: Ask, turn: Turn, *, seq: int) -> Rendered:
    head: dict[str, Any] = {
        "id": turn.id or f"msg_{seq:06}",
        "type": "message",
        "role": "assistant",
        "model": model_of(ask, turn),
    }
    blocks = tuple(_blocks(turn, seq))
    if ask.stream:
        return as_stream(_events(head, blocks, turn))
    content = [{**block, "input": arguments_table(block["input"])} if "input" in block else block for block in blocks]
    end = {"stop_reason": _REASONS[stop_of(turn)], "stop_sequence": None, "usage": _render_usage(turn.usage)}
    return as_json({**head, "content": content, **end})


def _blocks(turn: Turn, seq: int) -> Iterator[dict[str, Any]]:
    """The answer's blocks; the input of a call is still text."""
    if turn.reasoning:
        yield {"type": "thinking", "thinking": turn.reasoning, "signature": f"sig_{seq:06}"}
    if turn.text:
        yield {"type": "text", "text": turn.text}
    for call in calls_of(turn, "toolu", seq):
        yield {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}


def _render_usage(usage: Usage) -> dict[str, int]:
    """The API demands both figures: what is not known is 0 here."""
    cached = usage.cached_tokens or 0
    figures = {"input_tokens": max(0, (usage.input_tokens or 0) - cached), "output_tokens": usage.output_tokens or 0}
    return figures if usage.cached_tokens is None else {**figures, "cache_read_input_tokens": cached}


def _events(head: dict[str, Any], blocks: Iterable[dict[str, Any]], turn: Turn) -> Iterator[bytes]:
    usage = _render_usage(turn.usage)
    begun: dict[str, Any] = {
        **head,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": 1},
    }
    yield _event("message_start", message=begun)
    for index, block in enumerate(blocks):
        empty, deltas = _deltas(block)
        yield _event("content_block_start", index=index, content_block=empty)
        for delta in deltas:
            yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)
    ended = {"stop_reason": _REASONS[stop_of(turn)], "stop_sequence": None}
    yield _event("message_delta", delta=ended, usage={"output_tokens": usage["output_tokens"]})
    yield _event("message_stop")


def _deltas(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as it begins, and the pieces that fill it."""
    if block["type"] == "text":
        return {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
    if block["type"] == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
        signed = {"type": "signature_delta", "signature": block["signature"]}
        return {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signed]
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(block["input"])]
    return {**block, "input": {}}, deltas


def _event(name: str, **fields: object) -> bytes:
    return sse.render(dump_bytes({"type": name, **fields}), name)
