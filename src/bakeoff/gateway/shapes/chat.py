"""OpenAI's chat completions, and the many servers that speak them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bakeoff.gateway.shapes import sse
from bakeoff.gateway.shapes.base import Ask, Call, Message, Rendered, Tool, Turn
from bakeoff.gateway.shapes.parts import (
    Stop,
    arguments_text,
    as_json,
    as_stream,
    calls_of,
    content_text,
    events,
    joined,
    merged,
    model_of,
    pieces,
    stop_of,
    without_nulls,
)
from bakeoff.gateway.shapes.reading import (
    count,
    dump_bytes,
    load_table,
    required_tables,
    string,
    table,
    tables,
    total,
)
from bakeoff.records.results import Usage

_STOPS: dict[str, Stop] = {
    "stop": "end",
    "tool_calls": "tool",
    "function_call": "tool",
    "length": "length",
    "content_filter": "refusal",
}
_REASONS = {"end": "stop", "tool": "tool_calls", "length": "length", "refusal": "content_filter", "other": "stop"}
_CREATED = 0


def parse_request(path: str, body: bytes) -> Ask:
    """Raises BadShape."""
    raw = load_table(body)
    return Ask(
        api="openai-chat",
        model=string(raw.get("model")) or None,
        messages=merged(_message(item) for item in required_tables(raw, "messages")),
        tools=tuple(_tool(item) for item in tables(raw.get("tools"))),
        stream=raw.get("stream") is True,
        path=path,
        include_usage=table(raw.get("stream_options")).get("include_usage") is True,
        size=len(body),
    )


def _message(raw: dict[str, Any]) -> Message:
    role = string(raw.get("role"))
    text = joined((content_text(raw.get("content")), string(raw.get("refusal"))))
    if role in ("tool", "function"):
        return Message("tool", text=text, call_id=string(raw.get("tool_call_id")) or None)
    if role == "assistant":
        calls = tuple(_call(item) for item in tables(raw.get("tool_calls")))
        return Message("assistant", text=text, reasoning=_reasoning(raw), calls=calls)
    return Message("system" if role in ("system", "developer") else "user", text=text)


def _reasoning(raw: dict[str, Any]) -> str:
    """Servers do not agree on a field for it."""
    return string(raw.get("reasoning_content")) or string(raw.get("reasoning"))


def _call(raw: dict[str, Any]) -> Call:
    custom = table(raw.get("custom"))
    function = table(raw.get("function"))
    arguments = custom.get("input") if custom else function.get("arguments")
    return Call(string(raw.get("id")), string((custom or function).get("name")), arguments_text(arguments))


def _tool(raw: dict[str, Any]) -> Tool:
    kind = string(raw.get("type")) or "function"
    inner = table(raw.get(kind)) or raw
    return Tool(
        name=string(inner.get("name")) or kind,
        description=string(inner.get("description")),
        schema=table(inner.get("parameters")),
        kind=kind,
    )


def parse_answer(body: bytes, *, stream: bool) -> Turn:
    """Raises BadShape where ``body`` is to be one JSON object and is none."""
    return _from_chunks(body) if stream else _from_whole(load_table(body))


def _from_whole(raw: dict[str, Any]) -> Turn:
    choices = tables(raw.get("choices"))
    choice = choices[0] if choices else table(None)
    said = _message({**table(choice.get("message")), "role": "assistant"})
    return Turn(
        text=said.text,
        reasoning=said.reasoning,
        calls=said.calls,
        stop=_stop(choice.get("finish_reason"), bool(said.calls)),
        model=string(raw.get("model")) or None,
        id=string(raw.get("id")) or None,
        usage=usage_of(raw),
    )


def _from_chunks(body: bytes) -> Turn:
    text, reasoning, reason, model, ident = "", "", "", "", ""
    usage = Usage()
    calls: dict[int, tuple[str, str, str]] = {}
    for _, raw in events(body):
        model, ident = string(raw.get("model")) or model, string(raw.get("id")) or ident
        if raw.get("usage"):
            usage = usage_of(raw)
        for choice in tables(raw.get("choices")):
            if choice.get("index") not in (None, 0):
                continue
            delta = table(choice.get("delta"))
            text += content_text(delta.get("content")) + string(delta.get("refusal"))
            reasoning += _reasoning(delta)
            reason = string(choice.get("finish_reason")) or reason
            for item in tables(delta.get("tool_calls")):
                _extend(calls, item)
    said = tuple(Call(*calls[index]) for index in sorted(calls))
    return Turn(
        text=text,
        reasoning=reasoning,
        calls=said,
        stop=_stop(reason, bool(said)),
        model=model or None,
        id=ident or None,
        usage=usage,
    )


def _extend(calls: dict[int, tuple[str, str, str]], item: dict[str, Any]) -> None:
    """Add a piece of a call to what came of it. Some servers give no index: an id begins a call, and what has none continues the last."""
    index = count(item.get("index"))
    ident = string(item.get("id"))
    if index is None:
        index = max(calls, default=0) if calls and not ident else len(calls)
    before = calls.get(index, ("", "", ""))
    function = table(item.get("function")) or table(item.get("custom"))
    arguments = function.get("arguments", function.get("input"))
    calls[index] = (
        before[0] or ident,
        before[1] or string(function.get("name")),
        before[2] + (arguments_text(arguments) if arguments is not None else ""),
    )


def _stop(reason: object, called: bool) -> Stop:
    stop = _STOPS.get(string(reason), "other")
    return "tool" if called and stop == "end" else stop


def usage_of(raw: dict[str, Any]) -> Usage:
    """The usage of chat completions and of embeddings, which have no completion."""
    usage = table(raw.get("usage"))
    return Usage(
        input_tokens=count(usage.get("prompt_tokens")),
        output_tokens=count(usage.get("completion_tokens")),
        cached_tokens=count(table(usage.get("prompt_tokens_details")).get("cached_tokens")),
    )


def render_answer(ask: Ask, turn: Turn, *, seq: int) -> Rendered:
    head = {"id": turn.id or f"chatcmpl-{seq:06}", "created": _CREATED, "model": model_of(ask, turn)}
    if ask.stream:
        return as_stream(_chunks(ask, turn, head, seq))
    kinds = {tool.name: tool.kind for tool in ask.tools}
    calls = [_render_call(call, kinds) for call in calls_of(turn, "call", seq)]
    message = without_nulls(
        {
            "role": "assistant",
            "reasoning_content": turn.reasoning or None,
            "tool_calls": calls or None,
        }
    )
    message["content"] = turn.text or (None if calls else "")
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _REASONS[stop_of(turn)]}
    return as_json(
        without_nulls({**head, "object": "chat.completion", "choices": [choice], "usage": _render_usage(turn.usage)})
    )


def _render_call(call: Call, kinds: dict[str, str]) -> dict[str, Any]:
    if kinds.get(call.name) == "custom":
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _render_usage(usage: Usage) -> dict[str, Any] | None:
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    return without_nulls(
        {
            "prompt_tokens": usage.input_tokens or 0,
            "completion_tokens": usage.output_tokens or 0,
            "total_tokens": total(usage.input_tokens, usage.output_tokens),
            "prompt_tokens_details": None if usage.cached_tokens is None else {"cached_tokens": usage.cached_tokens},
        }
    )


def _chunks(ask: Ask, turn: Turn, head: dict[str, Any], seq: int) -> Iterator[bytes]:
    head = {**head, "object": "chat.completion.chunk"}

    def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return sse.render(dump_bytes({**head, "choices": [choice]}))

    yield chunk({"role": "assistant", "content": ""})
    for piece in pieces(turn.reasoning):
        yield chunk({"reasoning_content": piece})
    for piece in pieces(turn.text):
        yield chunk({"content": piece})
    kinds = {tool.name: tool.kind for tool in ask.tools}
    for index, call in enumerate(calls_of(turn, "call", seq)):
        kind, field = ("custom", "input") if kinds.get(call.name) == "custom" else ("function", "arguments")
        begun = {"index": index, "id": call.id, "type": kind, kind: {"name": call.name, field: ""}}
        yield chunk({"tool_calls": [begun]})
        for piece in pieces(call.arguments):
            yield chunk({"tool_calls": [{"index": index, kind: {field: piece}}]})
    yield chunk({}, _REASONS[stop_of(turn)])
    usage = _render_usage(turn.usage)
    if ask.include_usage and usage is not None:
        yield sse.render(dump_bytes({**head, "choices": [], "usage": usage}))
    yield sse.render(b"[DONE]")
