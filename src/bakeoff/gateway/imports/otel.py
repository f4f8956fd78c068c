"""OpenTelemetry GenAI spans, in lines of OTLP/JSON, as turns."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from msgspec import Struct

from bakeoff.errors import InputError
from bakeoff.gateway.imports.found import Found, Imported, in_order, lines, without_duplicates, wrong
from bakeoff.gateway.imports.parts import Names, messages_of, system_of, tools_of, turn_of
from bakeoff.gateway.shapes.base import Ask, Message
from bakeoff.gateway.shapes.reading import BadShape, count, string
from bakeoff.records import otel
from bakeoff.records.otel import Json, Span, TraceRequest
from bakeoff.records.results import Usage

TURNS = ("chat", "generate_content", "text_completion")
"""The operations that are turns of a conversation."""

BESIDE = ("execute_tool", "invoke_agent", "create_agent", "invoke_workflow")
"""The operations around them, which say nothing that the turns do not."""

_PROVIDERS = {"gcp.gemini": "google", "gcp.gen_ai": "google", "gemini": "google"}


class _Trial(Struct, frozen=True):
    """What a span of an agent says of a trial."""

    trace: str
    said: dict[str, Json]
    scores: dict[str, float]


def read(path: Path, trace: str = "") -> Found:
    """The turns of a log, in the order of their requests; of the trace of that id alone, if one is named.

    Calls with the status error and those of other kinds are no turns, and are counted. Raises InputError, with file and line,
    for what is no such line and for a call without its messages; and where several trials stand in the file and none is named.
    """
    turns: list[Imported] = []
    trials: list[_Trial] = []
    passed_over: Counter[str] = Counter()
    for number, request in lines(path, TraceRequest):
        for span in (span for at in request.resource_spans for scope in at.scope_spans for span in scope.spans):
            said = _said(span)
            operation = said.get("gen_ai.operation.name")
            if trace and span.trace_id != trace:
                passed_over["of other traces"] += 1
            elif operation == "invoke_agent" and not span.parent_span_id:
                trials.append(_Trial(span.trace_id, said, _scores(span)))
            elif operation in BESIDE:
                continue
            elif operation not in TURNS and not (operation is None and "gen_ai.output.messages" in said):
                passed_over[f"of the operation {operation}" if operation else "of no GenAI operation"] += 1
            elif span.status.code in (otel.ERROR, "STATUS_CODE_ERROR"):
                passed_over["with the status error"] += 1
            else:
                turns.append(_turn(path, number, span, said))
    if len({trial.trace for trial in trials}) > 1:
        known = ", ".join(sorted({trial.trace for trial in trials}))
        raise InputError("there are several trials in it", where=str(path), field="--trace", wanted=f"one of {known}")
    kept = without_duplicates(in_order(turns))
    if len(kept) < len(turns):
        passed_over["told twice"] = len(turns) - len(kept)
    return _found(kept, dict(passed_over), trials)


def _found(turns: list[Imported], passed_over: dict[str, int], trials: list[_Trial]) -> Found:
    said = trials[0].said if trials else {}
    scores = trials[0].scores if trials else {}
    return Found(
        turns=tuple(turns),
        passed_over=passed_over,
        agent=string(said.get("gen_ai.agent.name")),
        agent_version=string(said.get("gen_ai.agent.version")),
        dataset=string(said.get("bakeoff.dataset")),
        task=string(said.get("bakeoff.task")),
        outcome=string(said.get("bakeoff.outcome")),
        reward=scores.get("reward", next(iter(scores.values())) if len(scores) == 1 else None),
    )


def _said(span: Span) -> dict[str, Json]:
    """A span's attributes, with those of the event in which some exporters put the messages."""
    said = otel.named(span.attributes)
    for event in span.events:
        if event.name == otel.DETAILS:
            said |= otel.named(event.attributes)
    return said


def _scores(span: Span) -> dict[str, float]:
    scores: dict[str, float] = {}
    for event in span.events:
        said = otel.named(event.attributes)
        score = said.get("gen_ai.evaluation.score.value")
        if event.name == otel.EVALUATION and isinstance(score, int | float) and not isinstance(score, bool):
            scores[string(said.get("gen_ai.evaluation.name"))] = float(score)
    return scores


def _turn(path: Path, number: int, span: Span, said: dict[str, Json]) -> Imported:
    def given(name: str) -> Any:
        if name not in said:
            raise wrong(
                path,
                number,
                "the call's messages were not exported",
                field=name,
                found=f"span {span.name!r}",
                wanted="an exporter that captures content",
            )
        return said[name]

    names = Names()
    try:
        messages: tuple[Message, ...] = (
            *system_of(said.get("gen_ai.system_instructions")),
            *messages_of(given("gen_ai.input.messages"), names),
        )
        turn = turn_of(given("gen_ai.output.messages"), names, said.get("gen_ai.response.finish_reasons"))
        tools = tools_of(said.get("gen_ai.tool.definitions"))
    except BadShape as error:
        raise wrong(path, number, str(error), found=f"span {span.name!r}") from None
    provider = string(said.get("gen_ai.provider.name")) or string(said.get("gen_ai.system"))
    cost = said.get("bakeoff.cost_usd")
    usage = Usage(
        requests=1,
        input_tokens=_count(said, "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
        output_tokens=_count(said, "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
        cached_tokens=_count(said, "gen_ai.usage.cache_read.input_tokens"),
        cost_usd=cost if isinstance(cost, float) else None,
    )
    return Imported(
        ask=Ask(
            api="openai-chat", model=string(said.get("gen_ai.request.model")) or None, messages=messages, tools=tools
        ),
        turn=turn(
            model=string(said.get("gen_ai.response.model")) or None,
            id=string(said.get("gen_ai.response.id")) or None,
            usage=usage,
        ),
        provider=_PROVIDERS.get(provider, provider),
        started=_time(span.start_time_unix_nano),
        ended=_time(span.end_time_unix_nano),
        cost_usd=usage.cost_usd,
        trace=span.trace_id,
        line=number,
    )


def _count(said: dict[str, Json], *names: str) -> int | None:
    return next((found for name in names if (found := count(said.get(name))) is not None), None)


def _time(told: str | int) -> int | None:
    return otel.whole(told, None) or None
