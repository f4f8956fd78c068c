"""A trial's exchanges as OpenTelemetry GenAI spans, in OTLP/JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version
from typing import Any

import msgspec

from bakeoff.gateway.exports.facts import Facts, Pairs, ended_at, moment
from bakeoff.gateway.exports.threads import Node, Threads, arguments_of, id_of
from bakeoff.gateway.shapes.base import Ask, Call, Message, Tool, Turn
from bakeoff.records import otel
from bakeoff.records.exchanges import Exchange
from bakeoff.records.otel import Span, SpanEvent, SpanStatus

_PROVIDERS = {"google": "gcp.gemini", "gemini": "gcp.gemini", "vertex": "gcp.vertex_ai"}
_BY_API = {"anthropic-messages": "anthropic", "gemini": "gcp.gemini"}
_FINISHED = {"end": "stop", "tool": "tool_call", "length": "length", "refusal": "content_filter", "other": "stop"}
_APART = ("openai-responses", "anthropic-messages", "gemini")
"""The APIs whose requests hold system texts apart from the messages."""


def line(facts: Facts, pairs: Pairs) -> Iterator[bytes]:
    """A trial as one ``ExportTraceServiceRequest``, in pieces of a span each, with a line feed at its end."""
    head, tail = _around(facts)
    yield head
    for number, span in enumerate(spans(facts, pairs)):
        yield (b"," if number else b"") + msgspec.json.encode(span)
    yield tail + b"\n"


def requests(facts: Facts, pairs: Pairs, *, size: int) -> Iterator[bytes]:
    """The same spans as requests of about ``size`` bytes at most: what collectors take at once is limited. A span is never cut."""
    head, tail = _around(facts)
    held: list[bytes] = []
    length = 0
    for span in spans(facts, pairs):
        made = msgspec.json.encode(span)
        if held and length + len(made) > size:
            yield head + b",".join(held) + tail
            held, length = [], 0
        held.append(made)
        length += len(made) + 1
    yield head + b",".join(held) + tail


def spans(facts: Facts, pairs: Pairs) -> Iterator[Span]:
    """A ``chat`` span for each request, an ``execute_tool`` span for each call whose result was told, last ``invoke_agent``.

    Ids follow from the run's id and the exchange's number, so that exporting twice gives the same. Holds what ``Threads`` does.
    """
    threads = Threads()
    told: set[tuple[int, int]] = set()
    first, last = facts.started_at, facts.finished_at
    for exchange, ask, turn in pairs:
        first = first or exchange.started_at
        last = last if facts.finished_at else max(last, ended_at(exchange))
        if turn is None:
            yield _chat(facts, exchange, ask, None, "")
            continue
        node = threads.add(exchange, ask, turn)
        yield _chat(facts, exchange, ask, turn, f"{facts.run_id}/{node.tree.seq}")
        for result in node.results:
            found = _call(node.parent, result.call_id or "", told)
            if found is not None:
                told.add((found[0].seq, found[1]))
                yield _tool(facts, *found, node, result)
    yield _agent(facts, first, last)


def _around(facts: Facts) -> tuple[bytes, bytes]:
    """What stands before and after the spans of a request."""
    made = otel.TraceRequest(
        (
            otel.ResourceSpans(
                otel.Resource(otel.attributes({"service.name": facts.agent, "bakeoff.run_id": facts.run_id})),
                (otel.ScopeSpans(otel.Scope("bakeoff", version("bakeoff")), ()),),
            ),
        )
    )
    whole = msgspec.json.encode(made)
    cut = whole.rindex(b'"spans":[') + len(b'"spans":[')
    return whole[:cut], whole[cut:]


def _agent(facts: Facts, first: str, last: str) -> Span:
    failed = facts.passed is None and bool(facts.outcome) and facts.reward is None
    return Span(
        trace_id=_trace(facts),
        span_id=_id(facts, "agent"),
        name=f"invoke_agent {facts.agent}",
        kind=otel.INTERNAL,
        start_time_unix_nano=_nanoseconds(first),
        end_time_unix_nano=_nanoseconds(last),
        attributes=otel.attributes(
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.provider.name": _provider(facts.provider, ""),
                "gen_ai.agent.name": facts.agent,
                "gen_ai.agent.version": facts.agent_version or None,
                "gen_ai.request.model": facts.model,
                "bakeoff.dataset": facts.dataset or None,
                "bakeoff.task": facts.task or None,
                "bakeoff.outcome": facts.outcome or None,
                "error.type": facts.outcome if failed else None,
            }
        ),
        events=tuple(_evaluations(facts, last)),
        status=SpanStatus(facts.detail, otel.ERROR) if failed else SpanStatus(),
    )


def _evaluations(facts: Facts, at: str) -> Iterator[SpanEvent]:
    """The reward, then every other score of the verifier."""
    scores: dict[str, float | None] = {"reward": facts.reward, **facts.rewards}
    for name, score in scores.items():
        if score is None:
            continue
        label = None if facts.passed is None else "pass" if facts.passed else "fail"
        yield SpanEvent(
            time_unix_nano=_nanoseconds(at),
            name=otel.EVALUATION,
            attributes=otel.attributes(
                {
                    "gen_ai.evaluation.name": name,
                    "gen_ai.evaluation.score.value": float(score),
                    "gen_ai.evaluation.score.label": label if name == "reward" else None,
                    "gen_ai.evaluation.explanation": facts.detail or None,
                }
            ),
        )


def _chat(facts: Facts, exchange: Exchange, ask: Ask, turn: Turn | None, conversation: str) -> Span:
    model = exchange.model_requested or ask.model
    system, rest = _apart(ask)
    operation = "generate_content" if exchange.api == "gemini" else "chat"
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": _provider(exchange.provider or facts.provider, exchange.api),
        "gen_ai.conversation.id": conversation or None,
        "gen_ai.request.model": model,
        "gen_ai.request.stream": ask.stream or None,
        "gen_ai.system_instructions": _json([_text(message.text) for message in system]) if system else None,
        "gen_ai.input.messages": _json([_message(message) for message in rest]),
        "gen_ai.tool.definitions": _json([_definition(tool) for tool in ask.tools]) if ask.tools else None,
        "http.response.status_code": exchange.status,
        "bakeoff.exchange": exchange.seq,
        "bakeoff.via": exchange.via,
    }
    status = SpanStatus()
    if turn is not None:
        attributes |= _answered(exchange, turn)
    if turn is None or exchange.end != "complete":
        # "cut" tells more than the status 200 that the answer began with.
        attributes["error.type"] = exchange.end if exchange.end != "complete" else str(exchange.status)
        status = SpanStatus(exchange.error, otel.ERROR)
    return Span(
        trace_id=_trace(facts),
        span_id=_id(facts, "chat", exchange.seq),
        parent_span_id=_id(facts, "agent"),
        name=f"{operation} {model}" if model else operation,
        kind=otel.CLIENT,
        start_time_unix_nano=_nanoseconds(exchange.started_at),
        end_time_unix_nano=_nanoseconds(ended_at(exchange)),
        attributes=otel.attributes(attributes),
        status=status,
    )


def _answered(exchange: Exchange, turn: Turn) -> dict[str, Any]:
    usage = exchange.usage if exchange.usage.input_tokens is not None else turn.usage
    said = Message("assistant", text=turn.text, reasoning=turn.reasoning, calls=turn.calls)
    finished = _FINISHED[turn.stop]
    return {
        "gen_ai.response.id": turn.id,
        "gen_ai.response.model": turn.model or exchange.model_returned,
        "gen_ai.response.finish_reasons": [finished],
        "gen_ai.response.time_to_first_chunk": exchange.chunks[0][0] / 1e6 if exchange.chunks else None,
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "gen_ai.output.messages": _json([{**_message(said), "finish_reason": finished}]),
        "bakeoff.cost_usd": exchange.usage.cost_usd,
    }


def _call(node: Node | None, call_id: str, told: set[tuple[int, int]]) -> tuple[Node, int, Call] | None:
    """The latest answer of a conversation with a call of that id whose result was not told yet."""
    while node is not None:
        for index, call in enumerate(node.turn.calls):
            if id_of(call) == call_id and (node.seq, index) not in told:
                return node, index, call
        node = node.parent
    return None


def _tool(facts: Facts, asked: Node, index: int, call: Call, told: Node, result: Message) -> Span:
    return Span(
        trace_id=_trace(facts),
        span_id=_id(facts, "tool", asked.seq, index),
        parent_span_id=_id(facts, "agent"),
        name=f"execute_tool {call.name}",
        kind=otel.INTERNAL,
        start_time_unix_nano=_nanoseconds(asked.ended_at),
        end_time_unix_nano=_nanoseconds(told.exchange.started_at),
        attributes=otel.attributes(
            {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": call.name,
                "gen_ai.tool.type": "function",
                "gen_ai.tool.call.id": call.id or None,
                "gen_ai.tool.call.arguments": call.arguments,
                "gen_ai.tool.call.result": result.text,
            }
        ),
    )


def _apart(ask: Ask) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """The system texts that stand before the conversation, where the API has them apart; and the rest."""
    count = 0
    if ask.api in _APART:
        count = next((i for i, m in enumerate(ask.messages) if m.role != "system"), len(ask.messages))
    return ask.messages[:count], ask.messages[count:]


def _message(message: Message) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    if message.role == "tool":
        parts.append({"type": "tool_call_response", "id": message.call_id, "response": message.text})
    else:
        if message.reasoning:
            parts.append({"type": "reasoning", "content": message.reasoning})
        if message.text:
            parts.append(_text(message.text))
        for call in message.calls:
            made = arguments_of(call)
            arguments = call.arguments if made is None else made
            parts.append({"type": "tool_call", "id": call.id, "name": call.name, "arguments": arguments})
    return {"role": message.role, "parts": parts}


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "content": text}


def _definition(tool: Tool) -> dict[str, Any]:
    return {"type": tool.kind, "name": tool.name, "description": tool.description, "parameters": tool.schema}


def _json(value: Iterable[Any]) -> str:
    return msgspec.json.encode(value).decode()


def _provider(name: str, api: str) -> str:
    return _PROVIDERS.get(name, name) or _BY_API.get(api, "openai")


def _trace(facts: Facts) -> str:
    return sha256(f"trace/{facts.run_id}".encode()).hexdigest()[:32]


def _id(facts: Facts, *what: str | int) -> str:
    return sha256("/".join(str(part) for part in (facts.run_id, *what)).encode()).hexdigest()[:16]


def _nanoseconds(text: str) -> str:
    at = moment(text)
    if at is None:
        return "0"
    since = at - datetime.fromisoformat("1970-01-01T00:00:00Z")
    return str((since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000)
