"""OpenTelemetry's spans become turns, whatever their exporter left out."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.errors import InputError
from bakeoff.gateway.exports.otel import line as exported
from bakeoff.gateway.imports.otel import read
from bakeoff.gateway.shapes.neutral import neutral_key
from bakeoff.records.exchanges import Api
from recorded import FACTS, Recording, result, shell, system, user

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def text(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": content}]}


def attribute(key: str, value: Any) -> dict[str, Any]:
    kinds = {str: "stringValue", bool: "boolValue", int: "intValue", float: "doubleValue"}
    if isinstance(value, list):
        return {"key": key, "value": {"arrayValue": {"values": [attribute("", each)["value"] for each in value]}}}
    return {"key": key, "value": {kinds[type(value)]: value}}


def span(number: int, asked: list[dict[str, Any]], said: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A span of a call, with as little in it as exporters write."""
    more = fields.pop("attributes", {})
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "small-1",
        "gen_ai.input.messages": json.dumps(asked),
        "gen_ai.output.messages": json.dumps([{"role": "assistant", **said}]),
        "gen_ai.response.id": f"answer-{number}",
        **more,
    }
    return {
        "name": "chat small-1",
        "startTimeUnixNano": str(START + number * SECOND),
        "endTimeUnixNano": str(START + number * SECOND + SECOND // 2),
        "attributes": [attribute(key, value) for key, value in attributes.items() if value is not None],
        **fields,
    }


def line(*spans: dict[str, Any]) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}


def written(folder: Path, lines: list[Any]) -> Path:
    file = folder / "spans.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return file


def talk() -> list[dict[str, Any]]:
    """Two turns without ids of spans or of calls."""
    call = {"type": "tool_call", "name": "shell", "arguments": {"cmd": "ls"}}
    told = {"role": "tool", "parts": [{"type": "tool_call_response", "response": "a.txt"}]}
    asked = [text("user", "List.")]
    return [
        span(1, asked, {"parts": [call], "finish_reason": "tool_call"}),
        span(2, [*asked, {"role": "assistant", "parts": [call]}, told], text("assistant", "a.txt")),
    ]


def test_spans_without_ids_are_turns_whose_calls_and_results_belong_together(tmp_path: Path) -> None:
    first, second = read(written(tmp_path, [line(*talk())])).turns
    (call,) = first.turn.calls
    assert (call.name, json.loads(call.arguments), first.turn.stop) == ("shell", {"cmd": "ls"}, "tool")
    assert second.ask.messages[1].calls[0].id == call.id
    assert second.ask.messages[2].call_id == call.id
    assert second.turn.text == "a.txt"


def test_spans_in_any_order_and_over_several_lines_are_turns_in_the_order_of_time(tmp_path: Path) -> None:
    first, second = talk()
    found = read(written(tmp_path, [line(second), line(first)]))
    assert [turn.turn.id for turn in found.turns] == ["answer-1", "answer-2"]


def test_spans_with_an_error_or_of_other_operations_are_no_turns(tmp_path: Path) -> None:
    first, second = talk()
    failed = span(3, [], text("assistant", ""), status={"code": 2})
    named = span(3, [], text("assistant", ""), status={"code": "STATUS_CODE_ERROR"})
    tool = {"name": "execute_tool shell", "attributes": [attribute("gen_ai.operation.name", "execute_tool")]}
    embedded = {"name": "embeddings m", "attributes": [attribute("gen_ai.operation.name", "embeddings")]}
    other = {"name": "GET /"}
    found = read(written(tmp_path, [line(first, failed, named, tool, embedded, other, second)]))
    assert len(found.turns) == 2
    assert found.passed_over == {
        "with the status error": 2,
        "of the operation embeddings": 1,
        "of no GenAI operation": 1,
    }


def test_two_records_of_one_call_are_one_turn_and_the_fuller_stands(tmp_path: Path) -> None:
    first, second = talk()
    inner = json.loads(json.dumps(first))
    framework = span(1, [text("user", "List")], text("assistant", ""))
    found = read(written(tmp_path, [line(framework, inner, second)]))
    assert [len(turn.turn.calls) for turn in found.turns] == [1, 0]
    assert found.passed_over == {"told twice": 1}


def test_answers_in_a_row_with_one_id_are_all_kept(tmp_path: Path) -> None:
    spans = [
        span(n, [text("user", str(n))], text("assistant", "x"), attributes={"gen_ai.response.id": "same"})
        for n in (1, 2, 3)
    ]
    assert len(read(written(tmp_path, [line(*spans)])).turns) == 3


def test_messages_in_an_event_or_as_structures_are_read_too(tmp_path: Path) -> None:
    def structure(value: Any) -> dict[str, Any]:
        if isinstance(value, dict):
            return {"kvlistValue": {"values": [{"key": key, "value": structure(each)} for key, each in value.items()]}}
        if isinstance(value, list):
            return {"arrayValue": {"values": [structure(each) for each in value]}}
        return {"stringValue": value}

    messages = [
        {"key": "gen_ai.input.messages", "value": structure([text("user", "Hi.")])},
        {"key": "gen_ai.output.messages", "value": structure([text("assistant", "Ho.")])},
    ]
    bare = {"gen_ai.input.messages": None, "gen_ai.output.messages": None}
    event = {"name": "gen_ai.client.inference.operation.details", "attributes": messages}
    found = read(written(tmp_path, [line(span(1, [], {}, attributes=bare, events=[event]))]))
    assert found.turns[0].ask.messages[0].text == "Hi."
    assert found.turns[0].turn.text == "Ho."


def test_older_names_of_provider_and_usage_are_read(tmp_path: Path) -> None:
    older = {"gen_ai.system": "gcp.gemini", "gen_ai.usage.prompt_tokens": 7, "gen_ai.usage.completion_tokens": 3}
    (turn,) = read(
        written(tmp_path, [line(span(1, [text("user", "Hi.")], text("assistant", ""), attributes=older))])
    ).turns
    assert turn.provider == "google"
    assert (turn.turn.usage.input_tokens, turn.turn.usage.output_tokens) == (7, 3)


def test_a_trial_that_was_exported_reads_back_as_it_was_said(tmp_path: Path) -> None:
    recording = Recording()
    said = recording.ask(
        [system("Be brief."), user("Add up.")], "Looking.", shell("a", "ls"), shell("b", "pwd"), reasoning="Hm."
    )
    recording.fail([user("Else.")])
    recording.ask([*said, result("b", "/"), result("a", "x\ny")], "Done.")
    file = tmp_path / "spans.jsonl"
    file.write_bytes(b"".join(exported(FACTS, recording.pairs)))
    found = read(file)
    told = [(ask, turn) for _, ask, turn in recording.pairs if turn is not None]
    assert [neutral_key(turn.ask) for turn in found.turns] == [neutral_key(ask) for ask, _ in told]
    for turn, (ask, answer) in zip(found.turns, told, strict=True):
        assert turn.ask.tools == ask.tools
        assert (turn.turn.text, turn.turn.reasoning, turn.turn.id) == (answer.text, answer.reasoning, answer.id)
        assert [(call.id, json.loads(call.arguments)) for call in turn.turn.calls] == [
            (call.id, json.loads(call.arguments)) for call in answer.calls
        ]
        assert turn.turn.usage == answer.usage
    assert (found.agent, found.agent_version, found.task, found.dataset) == ("walker", "1.2", "sums", "made-up")
    assert (found.outcome, found.reward) == ("passed", 1.0)


@pytest.mark.parametrize("api", ["openai-chat", "openai-responses", "anthropic-messages", "gemini"])
def test_what_was_exported_through_any_api_asks_the_same_when_it_is_read_back(tmp_path: Path, api: Api) -> None:
    recording = Recording()
    first = [system("Be brief.\n"), system("Know this. "), user("Add up.")]
    said = recording.ask(first, " Looking.", shell("", "ls"))
    recording.ask([*said, result("shell", "x "), user("Hurry."), system("Listen.")], "Done.")
    pairs = [
        (msgspec.structs.replace(exchange, api=api), msgspec.structs.replace(ask, api=api), turn)
        for exchange, ask, turn in recording.pairs
    ]
    file = tmp_path / "spans.jsonl"
    file.write_bytes(b"".join(exported(FACTS, pairs)))
    assert [neutral_key(turn.ask) for turn in read(file).turns] == [neutral_key(ask) for _, ask, _ in pairs]


def test_system_texts_that_stand_apart_come_first_as_text_or_as_parts(tmp_path: Path) -> None:
    parts = json.dumps([{"type": "text", "content": "Be brief."}, {"type": "text", "content": "Be kind."}])
    for apart, texts in ((parts, ["Be brief.", "Be kind."]), ("Be brief.", ["Be brief."])):
        made = span(
            1, [text("user", "Hi.")], text("assistant", "Ho."), attributes={"gen_ai.system_instructions": apart}
        )
        (turn,) = read(written(tmp_path, [line(made)])).turns
        assert [(each.role, each.text) for each in turn.ask.messages] == [
            *(("system", each) for each in texts),
            ("user", "Hi."),
        ]


def test_of_several_trials_one_must_be_named(tmp_path: Path) -> None:
    one, two = Recording(), Recording()
    one.ask([user("One.")], "1")
    two.ask([user("Two.")], "2")
    other = msgspec.structs.replace(FACTS, run_id="run-2")
    file = tmp_path / "spans.jsonl"
    file.write_bytes(b"".join([*exported(FACTS, one.pairs), *exported(other, two.pairs)]))
    with pytest.raises(InputError, match="several trials") as raised:
        read(file)
    trace = raised.value.wanted.removeprefix("one of ").split(", ")[0]
    assert len(read(file, trace).turns) == 1


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ('{"resourceSpans": [', "not a line of JSON, and the file ends in it"),
        ("nonsense\n", "not a line of JSON"),
        ('{"resourceSpans": 5}\n', r"not of this format: .*\$\.resourceSpans"),
        (
            json.dumps(line(span(3, [], {}, attributes={"gen_ai.input.messages": None}))) + "\n",
            "messages were not exported",
        ),
        (json.dumps(line(span(3, [], {}, attributes={"gen_ai.input.messages": "{"}))) + "\n", "not JSON"),
        (json.dumps(line(span(3, [], {}, attributes={"gen_ai.output.messages": "[]"}))) + "\n", "no message in it"),
    ],
)
def test_what_is_no_line_is_an_error_with_file_and_line(tmp_path: Path, broken: str, says: str) -> None:
    file = written(tmp_path, [line(*talk())])
    with open(file, "a") as stream:
        stream.write(broken)
    with pytest.raises(InputError, match=says) as raised:
        read(file)
    assert raised.value.where == f"{file}: line 2"


PARTS = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["text", "tool_call", "tool_call_response", "blob", ""])},
        optional={
            "content": st.text(max_size=3) | st.none() | st.integers(),
            "id": st.sampled_from(["a", "b", ""]) | st.none(),
            "name": st.text(max_size=2),
            "arguments": st.none() | st.text(max_size=3) | st.dictionaries(st.text(max_size=1), st.integers()),
            "response": st.none() | st.text(max_size=3) | st.lists(st.integers()),
        },
    ),
    max_size=3,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {}, optional={"role": st.sampled_from(["user", "assistant", "tool", "x"]), "parts": PARTS | st.text()}
    ),
    max_size=3,
)


@settings(deadline=None)
@given(MESSAGES, MESSAGES)
def test_any_messages_are_read_or_refused_with_their_place(
    tmp_path_factory: pytest.TempPathFactory, asked: Any, said: Any
) -> None:
    made = span(1, asked, {}, attributes={"gen_ai.output.messages": json.dumps(said)})
    file = written(tmp_path_factory.mktemp("log"), [line(made)])
    try:
        (turn,) = read(file).turns
    except InputError as error:
        assert "line 1" in error.where
    else:
        assert neutral_key(turn.ask)


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 2**16))
def test_any_damage_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, noise: bytes, seed: int) -> None:
    file = written(tmp_path_factory.mktemp("log"), [line(*talk())])
    data = file.read_bytes()
    place = random.Random(seed).randrange(len(data))
    file.write_bytes(data[:place] + noise + data[place:])
    try:
        read(file)
    except InputError as error:
        assert ": line " in error.where
