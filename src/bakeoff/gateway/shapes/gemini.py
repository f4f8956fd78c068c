"""Google's generateContent, whole and as a stream: of events (``alt=sse``), or of one JSON array."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from bakeoff.gateway.shapes import sse
from bakeoff.gateway.shapes.base import Ask, Call, Message, Rendered, Tool, Turn
from bakeoff.gateway.shapes.parts import (
    JSON,
    Stop,
    arguments_table,
    arguments_text,
    as_json,
    as_stream,
    calls_of,
    events,
    joined,
    merged,
    model_of,
    pieces,
    without_nulls,
)
from bakeoff.gateway.shapes.reading import (
    BadShape,
    count,
    dump,
    dump_bytes,
    items,
    load,
    load_table,
    required_tables,
    string,
    table,
    tables,
    total,
)
from bakeoff.records.results import Usage

_PATH = re.compile(r"/(?:models|tunedModels)/([^/:]+):(\w+)")
_STOPS: dict[str, Stop] = {"STOP": "end", "MAX_TOKENS": "length"}
_REFUSALS = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "LANGUAGE")
_REASONS = {"end": "STOP", "tool": "STOP", "length": "MAX_TOKENS", "refusal": "SAFETY", "other": "OTHER"}


def parse_request(path: str, body: bytes) -> Ask:
    """Raises BadShape. The model and whether it is to be a stream stand in the path."""
    raw = load_table(body)
    found = _PATH.search(urlsplit(path).path)
    system = _text(table(raw.get("systemInstruction") or raw.get("system_instruction")))
    said = (message for item in required_tables(raw, "contents") for message in _messages(item))
    return Ask(
        api="gemini",
        model=unquote(found[1]) if found else None,
        messages=merged([*([Message("system", text=system)] if system else []), *said]),
        tools=tuple(tool for item in tables(raw.get("tools")) for tool in _tools(item)),
        stream=bool(found) and found[2].startswith("stream"),
        path=path,
        size=len(body),
    )


def _text(content: dict[str, Any], *, thought: bool = False) -> str:
    """The texts of a content's parts, or its thoughts."""
    return joined(
        string(part.get("text")) or ("" if thought else _named(part))
        for part in tables(content.get("parts"))
        if (part.get("thought") is True) == thought
    )


def _named(part: dict[str, Any]) -> str:
    kinds = [kind for kind in ("inlineData", "inline_data", "fileData", "file_data") if kind in part]
    return f"[{kinds[0]}]" if kinds else ""


def _messages(content: dict[str, Any]) -> Iterator[Message]:
    if content.get("role") == "model":
        yield _said(content)
        return
    for part in tables(content.get("parts")):
        if answered := table(part.get("functionResponse", part.get("function_response"))):
            ident = string(answered.get("id")) or string(answered.get("name"))
            yield Message("tool", text=_result(answered.get("response")), call_id=ident or None)
    if text := _text(content):
        yield Message("user", text=text)


def _result(value: object) -> str:
    """What a tool gave, without the object around it where that has no other field."""
    fields = table(value)
    if len(fields) == 1:
        (only,) = fields.values()
        if isinstance(only, str):
            return only
    return value if isinstance(value, str) else "" if value is None else dump(value)


def _said(content: dict[str, Any]) -> Message:
    calls = (part.get("functionCall", part.get("function_call")) for part in tables(content.get("parts")))
    return Message(
        "assistant",
        text=_text(content),
        reasoning=_text(content, thought=True),
        calls=tuple(_call(table(call)) for call in calls if table(call)),
    )


def _call(raw: dict[str, Any]) -> Call:
    return Call(string(raw.get("id")), string(raw.get("name")), arguments_text(raw.get("args")))


def _tools(raw: dict[str, Any]) -> Iterator[Tool]:
    """The functions of an entry, or the tools that the service has itself."""
    for field, value in raw.items():
        if field not in ("functionDeclarations", "function_declarations"):
            yield Tool(name=field, kind=field)
            continue
        for item in tables(value):
            schema = item.get("parametersJsonSchema") or item.get("parameters_json_schema") or item.get("parameters")
            yield Tool(string(item.get("name")), string(item.get("description")), table(schema))


def parse_answer(body: bytes, *, stream: bool) -> Turn:
    """Raises BadShape where ``body`` is to be JSON and is none."""
    parts = _parts(body) if stream else [load_table(body)]
    texts, thoughts, calls = "", "", list[Call]()
    reason, model, ident, usage = "", "", "", Usage()
    for raw in parts:
        model, ident = string(raw.get("modelVersion")) or model, string(raw.get("responseId")) or ident
        if "usageMetadata" in raw:
            usage = _usage(table(raw["usageMetadata"]))
        for candidate in tables(raw.get("candidates"))[:1]:
            content = table(candidate.get("content"))
            for part in tables(content.get("parts")):
                said = _said({"parts": [part]})
                texts, thoughts = texts + said.text, thoughts + said.reasoning
                calls.extend(said.calls)
            reason = string(candidate.get("finishReason")) or reason
        reason = reason or string(table(raw.get("promptFeedback")).get("blockReason"))
    return Turn(
        text=texts,
        reasoning=thoughts,
        calls=tuple(calls),
        stop=_stop(reason, bool(calls)),
        model=model or None,
        id=ident or None,
        usage=usage,
    )


def _parts(body: bytes) -> list[dict[str, Any]]:
    """The answers of a stream, of events or of an array; of an array that was cut, none."""
    if not body.lstrip().startswith(b"["):
        return [data for _, data in events(body)]
    try:
        return tables(items(load(body)))
    except BadShape:
        return []


def _stop(reason: str, called: bool) -> Stop:
    stop = "refusal" if reason in _REFUSALS else _STOPS.get(reason, "other")
    return "tool" if called and stop == "end" else stop


def _usage(usage: dict[str, Any]) -> Usage:
    return Usage(
        input_tokens=count(usage.get("promptTokenCount")),
        output_tokens=total(count(usage.get("candidatesTokenCount")), count(usage.get("thoughtsTokenCount"))),
        cached_tokens=count(usage.get("cachedContentTokenCount")),
    )


def render_answer(ask: Ask, turn: Turn, *, seq: int) -> Rendered:
    head = {"modelVersion": model_of(ask, turn), "responseId": turn.id or f"gen_{seq:06}"}
    ended = {"finishReason": _REASONS[turn.stop]}
    usage = _render_usage(turn.usage)
    calls = [_render_call(call) for call in calls_of(turn, "call", seq)]
    if not ask.stream:
        thought = [{"text": turn.reasoning, "thought": True}] if turn.reasoning else []
        parts = [*thought, *([{"text": turn.text}] if turn.text else []), *calls]
        return as_json({**_answer(parts, ended), **usage, **head})
    fields = [_answer([{"text": piece, "thought": True}]) for piece in pieces(turn.reasoning)]
    fields += [_answer([{"text": piece}]) for piece in pieces(turn.text)]
    fields += [_answer([call]) for call in calls]
    answers = [dump_bytes({**answer, **head}) for answer in fields]
    answers.append(dump_bytes({**_answer([], ended), **usage, **head}))
    if parse_qs(urlsplit(ask.path).query).get("alt") == ["sse"]:
        return as_stream(sse.render(answer) for answer in answers)
    return Rendered(200, JSON, (b"[" + answers[0], *(b",\r\n" + answer for answer in answers[1:]), b"]"))


def _answer(parts: list[dict[str, Any]], more: dict[str, Any] | None = None) -> dict[str, Any]:
    content = {"role": "model", "parts": parts or [{"text": ""}]}
    return {"candidates": [{"index": 0, "content": content, **(more or {})}]}


def _render_call(call: Call) -> dict[str, Any]:
    return {"functionCall": {"id": call.id, "name": call.name, "args": arguments_table(call.arguments)}}


def _render_usage(usage: Usage) -> dict[str, Any]:
    if usage.input_tokens is None and usage.output_tokens is None:
        return {}
    figures = {
        "promptTokenCount": usage.input_tokens or 0,
        "candidatesTokenCount": usage.output_tokens or 0,
        "totalTokenCount": total(usage.input_tokens, usage.output_tokens),
        "cachedContentTokenCount": usage.cached_tokens,
    }
    return {"usageMetadata": without_nulls(figures)}
