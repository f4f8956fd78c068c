"""OpenTelemetry's messages, made of parts, in the neutral form."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from bakeoff.gateway.shapes.base import Call, Message, Tool, Turn
from bakeoff.gateway.shapes.parts import Stop, arguments_text, merged
from bakeoff.gateway.shapes.reading import BadShape, dump, items, kind_of, load, string, table, tables

_ROLES = {"assistant": "assistant", "model": "assistant", "system": "system", "developer": "system", "tool": "tool"}
_STOPS: dict[str, Stop] = {
    "stop": "end",
    "end_turn": "end",
    "tool_call": "tool",
    "tool_calls": "tool",
    "tool_use": "tool",
    "length": "length",
    "max_tokens": "length",
    "content_filter": "refusal",
    "refusal": "refusal",
}


class Names:
    """Ids for the calls of one conversation whose exporter leaves them out: by their order, which every request repeats."""

    def __init__(self) -> None:
        self._count = 0
        self._waiting: list[tuple[str, str]] = []

    def call(self, ident: str, tool: str) -> str:
        self._count += 1
        name = ident or f"call_{self._count}"
        self._waiting.append((name, tool))
        return name

    def result(self, ident: str) -> str | None:
        """The call that a result is of: the one whose id or tool it names; where it names none, the first that has no result yet."""
        named = [each for each in self._waiting if each[0] == ident] or [
            each for each in self._waiting if each[1] == ident
        ]
        found = next(iter(named if ident else self._waiting), None)
        if found is None:
            return ident or None
        self._waiting.remove(found)
        return found[0]


def messages_of(value: object, names: Names) -> tuple[Message, ...]:
    """The messages of an attribute, as JSON text or as a structure. Raises BadShape."""
    return merged(message for raw in _array(value) for message in _messages(table(raw), names))


def system_of(value: object) -> tuple[Message, ...]:
    """The system texts of an attribute, a message each: parts as JSON text or as a structure, or plain text."""
    if not value:
        return ()
    try:
        parts = _array(value)
    except BadShape:
        parts = [value]
    texts = (part if isinstance(part, str) else string(table(part).get("content")) for part in parts)
    return tuple(Message("system", text=text) for text in texts if text)


def turn_of(value: object, names: Names, reasons: object) -> Callable[..., Turn]:
    """The first answer of an attribute; a turn that lacks but what its span says of it. Raises BadShape where there is none."""
    answers = _array(value)
    if not answers:
        raise BadShape("gen_ai.output.messages: no message in it")
    raw = table(answers[0])
    said = next(iter(_messages({**raw, "role": "assistant"}, names)), Message("assistant"))
    reason = string(raw.get("finish_reason")) or next((string(each) for each in items(reasons)), "")
    stop = _STOPS.get(reason.lower(), "other" if reason else "end")
    return partial(
        Turn,
        text=said.text,
        reasoning=said.reasoning,
        calls=said.calls,
        stop="tool" if said.calls and stop in ("end", "other") else stop,
    )


def tools_of(value: object) -> tuple[Tool, ...]:
    """The tools on offer; none where the exporter does not tell."""
    if not value:
        return ()
    return tuple(_tool(raw) for raw in tables(_array(value)))


def _tool(raw: dict[str, Any]) -> Tool:
    inner = table(raw.get("function")) or raw
    schema = inner.get("parameters") or inner.get("input_schema")
    return Tool(
        string(inner.get("name")),
        string(inner.get("description")),
        table(schema),
        string(raw.get("type")) or "function",
    )


def _messages(raw: dict[str, Any], names: Names) -> list[Message]:
    """One message; or, of one that holds results of tools, each of them and what is said beside."""
    role = _ROLES.get(string(raw.get("role")), "user")
    parts = raw.get("parts", raw.get("content"))
    if isinstance(parts, str):
        parts = [{"type": "text", "content": parts}]
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Call] = []
    results: list[Message] = []
    for part in tables(parts):
        kind, content = string(part.get("type")), part.get("content", part.get("text"))
        if kind == "tool_call":
            arguments = arguments_text(part.get("arguments"))
            tool = string(part.get("name"))
            calls.append(Call(names.call(string(part.get("id")), tool), tool, arguments))
        elif kind == "tool_call_response":
            given = part.get("response", part.get("result"))
            text = given if isinstance(given, str) else "" if given is None else dump(given)
            results.append(Message("tool", text=text, call_id=names.result(string(part.get("id")))))
        elif kind in ("reasoning", "thinking"):
            thoughts.append(string(content))
        else:
            texts.append(content if isinstance(content, str) else f"[{kind}]")
    text, reasoning = "\n".join(filter(None, texts)), "\n".join(filter(None, thoughts))
    if role == "tool" and not results:
        return [Message("tool", text=text, call_id=names.result(string(raw.get("tool_call_id"))))]
    if role == "assistant":
        return [*results, Message("assistant", text=text, reasoning=reasoning, calls=tuple(calls))]
    beside = [Message("system" if role == "system" else "user", text=text)] if text or not results else []
    return [*results, *beside]


def _array(value: object) -> list[Any]:
    if isinstance(value, str):
        value = load(value.encode("utf-8", "surrogatepass"))
    if not isinstance(value, list):
        raise BadShape(f"messages: {kind_of(value)}, wanted an array of messages")
    return cast("list[Any]", value)
