"""OpenAI's responses: what a request asks and what an answer says. ``responses_out`` writes answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bakeoff.gateway.shapes.base import Ask, Call, Message, Tool, Turn
from bakeoff.gateway.shapes.parts import Stop, arguments_text, content_text, events, joined, merged
from bakeoff.gateway.shapes.reading import (
    BadShape,
    count,
    dump,
    items,
    kind_of,
    load_table,
    required_tables,
    string,
    table,
    tables,
)
from bakeoff.records.results import Usage

_CALL_FIELDS = {"function_call": "arguments", "custom_tool_call": "input", "local_shell_call": "action"}
_ENDED = ("response.completed", "response.incomplete", "response.failed", "response.done")
_INCOMPLETE: dict[str, Stop] = {"max_output_tokens": "length", "content_filter": "refusal"}


def parse_request(path: str, body: bytes) -> Ask:
    """Raises BadShape."""
    raw = load_table(body)
    return Ask(
        api="openai-responses",
        model=string(raw.get("model")) or None,
        messages=merged(_input(raw)),
        tools=tuple(tool for item in tables(raw.get("tools")) for tool in _tools(item)),
        stream=raw.get("stream") is True,
        path=path,
        size=len(body),
    )


def _input(raw: dict[str, Any]) -> Iterator[Message]:
    if instructions := content_text(raw.get("instructions")):
        yield Message("system", text=instructions)
    given = raw.get("input")
    if isinstance(given, str):
        yield Message("user", text=given)
    elif isinstance(given, list):
        for item in required_tables(raw, "input"):
            if (message := _message(item)) is not None:
                yield message
    elif given is not None:
        raise BadShape(f"input: {kind_of(given)}, wanted a string or an array of objects")


def _message(item: dict[str, Any]) -> Message | None:
    """One item of the input or output; None for one that holds nothing to read, as a compacted or an encrypted one."""
    kind = string(item.get("type")) or ("message" if "role" in item else "")
    if kind == "message":
        role, text = item.get("role"), content_text(item.get("content"))
        if role == "assistant":
            return Message("assistant", text=text)
        return Message("system" if role in ("system", "developer") else "user", text=text)
    if kind == "reasoning":
        return Message("assistant", reasoning=_reasoning(item))
    if kind in _CALL_FIELDS:
        return Message("assistant", calls=(_call(item, kind),))
    if kind.endswith("_call_output"):
        return Message("tool", text=_output(item.get("output")), call_id=string(item.get("call_id")) or None)
    return None


def _reasoning(item: dict[str, Any]) -> str:
    return joined((content_text(item.get("summary")), content_text(item.get("content"))))


def _call(item: dict[str, Any], kind: str) -> Call:
    space = string(item.get("namespace"))
    name = string(item.get("name")) or kind.removesuffix("_call")
    ident = string(item.get("call_id")) or string(item.get("id"))
    return Call(ident, f"{space}.{name}" if space else name, arguments_text(item.get(_CALL_FIELDS[kind])))


def _output(value: object) -> str:
    """The result of a call: a string, parts of a content, or in older forms an object."""
    return content_text(value) or (dump(table(value)) if table(value) else "")


def _tools(raw: dict[str, Any]) -> Iterator[Tool]:
    """The tool that an entry offers, or the tools of a namespace."""
    kind = string(raw.get("type")) or "function"
    name = string(raw.get("name"))
    if kind == "namespace":
        for item in tables(raw.get("tools")):
            yield _tool(item, string(item.get("type")) or "function", f"{name}.{string(item.get('name'))}")
    else:
        yield _tool(raw, kind, name or kind)


def _tool(raw: dict[str, Any], kind: str, name: str) -> Tool:
    return Tool(name=name, description=string(raw.get("description")), schema=table(raw.get("parameters")), kind=kind)


def parse_answer(body: bytes, *, stream: bool) -> Turn:
    """Raises BadShape where ``body`` is to be one JSON object and is none."""
    raw = _assembled(body) if stream else load_table(body)
    said = merged(
        message
        for item in tables(raw.get("output"))
        if (message := _message({**item, **_SAID})) is not None and message.role == "assistant"
    )
    answer = said[0] if said else Message("assistant")
    return Turn(
        text=answer.text,
        reasoning=answer.reasoning,
        calls=answer.calls,
        stop=_stop(raw, bool(answer.calls)),
        model=string(raw.get("model")) or None,
        id=string(raw.get("id")) or None,
        usage=_usage(table(raw.get("usage"))),
    )


_SAID = {"role": "assistant"}


def _assembled(body: bytes) -> dict[str, Any]:
    """The response that a stream's events add up to. Of one that was cut there is what its items had come to."""
    response: dict[str, Any] = {}
    output: dict[int, dict[str, Any]] = {}
    for name, raw in events(body):
        kind = string(raw.get("type")) or name
        index = count(raw.get("output_index"))
        index = (max(output, default=-1) + (kind == "response.output_item.done")) if index is None else index
        if kind in ("response.created", "response.in_progress", *_ENDED):
            response = {**response, **table(raw.get("response"))}
            if kind == "response.completed":
                response.setdefault("status", "completed")
        elif kind in ("response.output_item.added", "response.output_item.done"):
            output[max(index, 0)] = dict(table(raw.get("item")))
        elif kind in _DELTAS:
            _extend(output.setdefault(max(index, 0), {}), kind, string(raw.get("delta")))
    ordered = [output[index] for index in sorted(output)]
    return {**response, "output": items(response.get("output")) or ordered}


_DELTAS = {
    "response.output_text.delta": ("message", "content"),
    "response.refusal.delta": ("message", "content"),
    "response.reasoning_summary_text.delta": ("reasoning", "summary"),
    "response.reasoning_text.delta": ("reasoning", "content"),
    "response.function_call_arguments.delta": ("function_call", "arguments"),
    "response.custom_tool_call_input.delta": ("custom_tool_call", "input"),
}


def _extend(item: dict[str, Any], kind: str, piece: str) -> None:
    """Add a piece to an item that is not done: its text stands as a plain string until then."""
    item_kind, field = _DELTAS[kind]
    item["type"] = string(item.get("type")) or item_kind
    item[field] = string(item.get(field)) + piece


def _stop(raw: dict[str, Any], called: bool) -> Stop:
    status = string(raw.get("status"))
    if status == "incomplete":
        return _INCOMPLETE.get(string(table(raw.get("incomplete_details")).get("reason")), "other")
    if status != "completed":
        return "other"
    parts = [part for item in tables(raw.get("output")) for part in tables(item.get("content"))]
    if any(part.get("type") == "refusal" for part in parts):
        return "refusal"
    return "tool" if called else "end"


def _usage(usage: dict[str, Any]) -> Usage:
    return Usage(
        input_tokens=count(usage.get("input_tokens")),
        output_tokens=count(usage.get("output_tokens")),
        cached_tokens=count(table(usage.get("input_tokens_details")).get("cached_tokens")),
    )
