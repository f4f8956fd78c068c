"""Spans of a trial are what OpenTelemetry's readers expect, and the same however often they are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec

from bakeoff.gateway.exports.facts import Facts
from bakeoff.gateway.exports.otel import line, requests, spans
from bakeoff.records import otel
from recorded import FACTS, Recording, result, shell, system, user

SCHEMA = Path(__file__).parents[3] / "docs" / "reference" / "schemas" / "otel-line.json"


def worked() -> Recording:
    recording = Recording()
    talk = recording.ask([system("Be brief."), user("Add up.")], "Looking.", shell("a", "ls"), reasoning="Hm.")
    recording.fail([*talk, result("a", "x")])
    recording.ask([*talk, result("a", "x")], "Done.")
    return recording


def exported(recording: Recording, facts: Facts = FACTS) -> list[tuple[str, dict[str, Any], otel.Span]]:
    """The spans of the line, read back through the published schema: name, attributes, span."""
    text = b"".join(line(facts, recording.pairs))
    assert text.endswith(b"\n")
    assert text.count(b"\n") == 1
    jsonschema.validate(json.loads(text), json.loads(SCHEMA.read_text()))
    request = msgspec.json.decode(text, type=otel.TraceRequest)
    (resource,) = request.resource_spans
    assert otel.named(resource.resource.attributes)["service.name"] == "walker"
    (scope,) = resource.scope_spans
    assert scope.scope.name == "bakeoff"
    return [(span.name, otel.named(span.attributes), span) for span in scope.spans]


def test_a_trial_is_one_trace_with_its_requests_and_tools_below_the_agent() -> None:
    found = exported(worked())
    names = [name for name, _, _ in found]
    assert names == [
        "chat small-1",
        "chat small-1",
        "chat small-1",
        "execute_tool shell",
        "invoke_agent walker",
    ]
    agent = found[-1][2]
    assert {span.trace_id for _, _, span in found} == {agent.trace_id}
    assert [span.parent_span_id for _, _, span in found] == [agent.span_id] * 4 + [""]
    assert len({span.span_id for _, _, span in found}) == 5
    assert all(len(span.span_id) == 16 and len(span.trace_id) == 32 for _, _, span in found)
    assert all(int(span.start_time_unix_nano) <= int(span.end_time_unix_nano) for _, _, span in found)


def test_a_request_says_what_was_asked_and_answered() -> None:
    _, said, span = exported(worked())[0]
    assert said["gen_ai.operation.name"] == "chat"
    assert said["gen_ai.provider.name"] == "openai"
    assert said["gen_ai.response.finish_reasons"] == ["tool_call"]
    assert (said["gen_ai.usage.input_tokens"], said["gen_ai.usage.output_tokens"]) == (100, 10)
    assert said["gen_ai.response.time_to_first_chunk"] == 0.2
    assert json.loads(said["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Add up."}]},
    ]
    (answer,) = json.loads(said["gen_ai.output.messages"])
    assert answer["finish_reason"] == "tool_call"
    assert answer["parts"] == [
        {"type": "reasoning", "content": "Hm."},
        {"type": "text", "content": "Looking."},
        {"type": "tool_call", "id": "a", "name": "shell", "arguments": {"cmd": "ls"}},
    ]
    assert (int(span.end_time_unix_nano) - int(span.start_time_unix_nano)) == 500_000_000


def test_a_request_that_failed_has_the_status_error_and_no_answer() -> None:
    _, said, span = exported(worked())[1]
    assert span.status.code == otel.ERROR
    assert said["error.type"] == "error"
    assert "gen_ai.output.messages" not in said


def test_a_tool_has_its_call_and_its_result() -> None:
    _, said, _ = exported(worked())[3]
    assert said["gen_ai.tool.call.id"] == "a"
    assert json.loads(said["gen_ai.tool.call.arguments"]) == {"cmd": "ls"}
    assert said["gen_ai.tool.call.result"] == "x"


def test_rewards_are_evaluation_results() -> None:
    facts = msgspec.structs.replace(FACTS, rewards={"reward": 1.0, "style": 0.5})
    events = exported(worked(), facts)[-1][2].events
    assert [event.name for event in events] == ["gen_ai.evaluation.result"] * 2
    first, second = (otel.named(event.attributes) for event in events)
    assert first == {
        "gen_ai.evaluation.name": "reward",
        "gen_ai.evaluation.score.value": 1.0,
        "gen_ai.evaluation.score.label": "pass",
    }
    assert (second["gen_ai.evaluation.name"], second["gen_ai.evaluation.score.value"]) == ("style", 0.5)


def test_a_trial_without_a_verdict_has_the_status_error_and_no_evaluation() -> None:
    facts = msgspec.structs.replace(
        FACTS, passed=None, reward=None, rewards={}, outcome="model_error", detail="the provider was gone"
    )
    agent = exported(worked(), facts)[-1][2]
    assert (agent.status.code, agent.status.message, agent.events) == (otel.ERROR, "the provider was gone", ())


def test_a_trial_without_traffic_is_its_agent_alone() -> None:
    (agent,) = spans(FACTS, ())
    assert agent.name == "invoke_agent walker"


def test_system_texts_stand_apart_where_the_api_has_them_apart() -> None:
    recording = worked()
    exchange, ask, turn = recording.pairs[0]
    apart = (
        msgspec.structs.replace(exchange, api="anthropic-messages"),
        msgspec.structs.replace(ask, api="anthropic-messages"),
        turn,
    )
    chat = next(spans(FACTS, [apart]))
    said = otel.named(chat.attributes)
    assert json.loads(str(said["gen_ai.system_instructions"])) == [{"type": "text", "content": "Be brief."}]
    assert [each["role"] for each in json.loads(str(said["gen_ai.input.messages"]))] == ["user"]


def test_writing_twice_gives_the_same_bytes() -> None:
    recording = worked()
    assert list(line(FACTS, recording.pairs)) == list(line(FACTS, recording.pairs))


def test_requests_for_a_collector_are_cut_between_spans_and_hold_them_all() -> None:
    recording = worked()
    made = list(requests(FACTS, recording.pairs, size=1500))
    assert len(made) > 1
    decoded = [msgspec.json.decode(each, type=otel.TraceRequest) for each in made]
    ids = [span.span_id for each in decoded for span in each.resource_spans[0].scope_spans[0].spans]
    assert ids == [span.span_id for span in spans(FACTS, recording.pairs)]
