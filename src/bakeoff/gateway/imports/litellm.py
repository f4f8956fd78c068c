"""LiteLLM's log lines as turns."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from bakeoff.gateway.imports.found import Found, Imported, in_order, lines, without_duplicates, wrong
from bakeoff.gateway.shapes.all import parse_answer, parse_request
from bakeoff.gateway.shapes.base import Ask, Turn
from bakeoff.gateway.shapes.reading import BadShape, dump_bytes, load_table, string, table
from bakeoff.records.exchanges import Api
from bakeoff.records.litellm import LiteLLMLine
from bakeoff.records.results import Usage

APIS: dict[str, Api] = {
    "completion": "openai-chat",
    "responses": "openai-responses",
    "anthropic_messages": "anthropic-messages",
    "generate_content": "gemini",
    "generate_content_stream": "gemini",
}
"""The calls that are turns of a conversation, by name; ``a`` before a name marks the same call made without waiting."""

_PARAMETERS: dict[str, tuple[str, ...]] = {
    "openai-chat": ("tools",),
    "openai-responses": ("tools", "instructions"),
    "anthropic-messages": ("tools", "system"),
    "gemini": ("tools", "systemInstruction", "system_instruction"),
}


def read(path: Path, trace: str = "") -> Found:
    """The turns of a log, in the order of their requests; of the trace of that id alone, if one is named.

    Calls that failed and those of other kinds are counted. Raises InputError, with file and line, for what is no such line, and for
    a call whose messages or answer were not logged.
    """
    turns: list[Imported] = []
    passed_over: Counter[str] = Counter()
    for number, line in lines(path, LiteLLMLine):
        name = (line.call_type or "completion").removeprefix("_")
        api = APIS.get(name) or APIS.get(name.removeprefix("a"))
        if trace and line.trace_id != trace:
            passed_over["of other traces"] += 1
        elif api is None:
            passed_over[f"of the type {name}"] += 1
        elif (line.status or "success") != "success":
            passed_over["that failed"] += 1
        else:
            turns.append(_turn(path, number, line, api))
    kept = without_duplicates(in_order(turns))
    if len(kept) < len(turns):
        passed_over["told twice"] = len(turns) - len(kept)
    return Found(turns=tuple(kept), passed_over=dict(passed_over))


def _turn(path: Path, number: int, line: LiteLLMLine, api: Api) -> Imported:
    if not isinstance(line.messages, list | dict) and not (line.messages and api == "openai-responses"):
        logged = f"{line.messages!r}"[:60] if line.messages else "nothing"
        raise wrong(
            path,
            number,
            "the call's messages were not logged",
            field="messages",
            found=logged,
            wanted="LiteLLM's message logging on",
        )
    if not line.response:
        raise wrong(
            path, number, "the call's answer was not logged", field="response", wanted="LiteLLM's message logging on"
        )
    try:
        ask = _ask(line, api)
        turn = _answer(line)
    except BadShape as error:
        raise wrong(path, number, f"not what {line.call_type or 'completion'} takes and gives: {error}") from None
    provider, model = _named(line)
    return Imported(
        ask=msgspec.structs.replace(ask, model=model or ask.model),
        turn=msgspec.structs.replace(turn, id=turn.id or line.id, usage=_usage(line, turn.usage)),
        provider=provider,
        started=_nanoseconds(line.startTime),
        ended=_nanoseconds(line.endTime),
        cost_usd=line.response_cost,
        trace=line.trace_id or "",
        line=number,
    )


def _ask(line: LiteLLMLine, api: Api) -> Ask:
    # Some calls are logged as the whole body that was sent.
    sent = table(line.messages)
    told = (line.model_parameters or {}) | sent
    body: dict[str, Any] = {key: told[key] for key in _PARAMETERS[api] if told.get(key)}
    body["model"] = line.model
    said = (
        next((sent[key] for key in ("messages", "input", "contents") if key in sent), None) if sent else line.messages
    )
    body[{"openai-responses": "input", "gemini": "contents"}.get(api, "messages")] = said
    return parse_request(api, "", dump_bytes(body))


def _answer(line: LiteLLMLine) -> Turn:
    """The answer, in whichever API's form it was logged: LiteLLM translates some."""
    given = line.response
    if isinstance(given, str):
        try:
            given = load_table(given.encode())
        except BadShape:
            return Turn(text=given, model=line.model)
    if isinstance(given, list):
        given = {"choices": given}
    for field, api in _FORMS:
        if isinstance(given.get(field), list) if given else False:
            return parse_answer(api, dump_bytes(given), stream=False)
    raise BadShape(
        f"response: found the fields {', '.join(sorted(given or {}))[:120]}; wanted choices, output, content or candidates"
    )


_FORMS: tuple[tuple[str, Api], ...] = (
    ("choices", "openai-chat"),
    ("output", "openai-responses"),
    ("candidates", "gemini"),
    ("content", "anthropic-messages"),
)


def _named(line: LiteLLMLine) -> tuple[str, str]:
    """Provider and model, which LiteLLM may write as ``provider/model``."""
    model = line.model or ""
    provider = line.custom_llm_provider or string(table(line.hidden_params).get("custom_llm_provider"))
    if provider:
        return provider, model.removeprefix(f"{provider}/")
    head, found, rest = model.partition("/")
    return (head, rest) if found else ("", model)


def _usage(line: LiteLLMLine, told: Usage) -> Usage:
    return Usage(
        requests=1,
        input_tokens=line.prompt_tokens if told.input_tokens is None else told.input_tokens,
        output_tokens=line.completion_tokens if told.output_tokens is None else told.output_tokens,
        cached_tokens=told.cached_tokens,
        cost_usd=line.response_cost,
    )


def _nanoseconds(at: float | str | None) -> int | None:
    if isinstance(at, str):
        try:
            moment = datetime.fromisoformat(at)
        except ValueError:
            return None
        at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return None if at is None or not 0 <= at < 1e11 else round(at * 1e6) * 1000
