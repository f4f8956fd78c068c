"""LiteLLM's log lines become turns, in the order in which they were asked."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.errors import InputError
from bakeoff.gateway.imports.litellm import read

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/reference/schemas/litellm-line.json").read_text())
CALL = {"id": "c1", "type": "function", "function": {"name": "bash", "arguments": '{"command": "ls"}'}}
TOOLS = [{"type": "function", "function": {"name": "bash", "description": "Run.", "parameters": {"type": "object"}}}]


def line(number: int, messages: Any, message: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A line as LiteLLM writes it, cut to the fields that matter and some that do not."""
    return {
        "id": f"chatcmpl-{number}",
        "trace_id": "trace-1",
        "call_type": "acompletion",
        "stream": False,
        "status": "success",
        "startTime": 1_700_000_000.5 + number,
        "endTime": 1_700_000_000.75 + number,
        "response_time": 0.25,
        "model": "openai/small-1",
        "metadata": {"user_api_key_hash": None},
        "response_cost": 0.25,
        "prompt_tokens": 10 * number,
        "completion_tokens": number,
        "total_tokens": 11 * number,
        "api_base": "http://127.0.0.1/v1",
        "messages": messages,
        "response": {
            "id": f"chatcmpl-{number}",
            "model": "small-1-0101",
            "object": "chat.completion",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}],
            "usage": {"prompt_tokens": 10 * number, "completion_tokens": number, "total_tokens": 11 * number},
        },
        "model_parameters": {"tools": TOOLS, "temperature": 0},
        "hidden_params": {"litellm_overhead_time_ms": 1.5},
        "error_information": {"error_code": "", "error_class": ""},
        "guardrail_information": None,
        **fields,
    }


def talk() -> list[dict[str, Any]]:
    """Two turns of an agent that lists files."""
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "List the files."}]
    called = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    told = {"role": "tool", "tool_call_id": "c1", "content": "a.txt"}
    return [
        line(1, asked, {"content": None, "tool_calls": [CALL]}),
        line(2, [*asked, called, told], {"content": "There is a.txt."}),
    ]


def written(folder: Path, lines: list[Any]) -> Path:
    file = folder / "log.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return file


def test_each_call_is_a_turn_with_its_messages_tools_and_cost(tmp_path: Path) -> None:
    for each in talk():
        jsonschema.validate(each, SCHEMA)
    found = read(written(tmp_path, talk()))
    first, second = found.turns
    assert [message.role for message in first.ask.messages] == ["system", "user"]
    assert [tool.name for tool in first.ask.tools] == ["bash"]
    assert (first.turn.calls[0].id, first.turn.calls[0].name, first.turn.stop) == ("c1", "bash", "tool")
    assert [message.role for message in second.ask.messages] == ["system", "user", "assistant", "tool"]
    assert second.turn.text == "There is a.txt."
    assert (second.ask.model, second.provider, second.turn.model) == ("small-1", "openai", "small-1-0101")
    assert (second.turn.usage.input_tokens, second.turn.usage.output_tokens, second.cost_usd) == (20, 2, 0.25)
    assert (second.started, second.ended) == (1_700_000_002_500_000_000, 1_700_000_002_750_000_000)
    assert found.passed_over == {}


def test_lines_in_another_order_give_the_same(tmp_path: Path) -> None:
    there, back = talk(), talk()[::-1]
    assert [each.turn for each in read(written(tmp_path, there)).turns] == [
        each.turn for each in read(written(tmp_path, back)).turns
    ]


def test_a_call_that_was_logged_twice_is_one_turn(tmp_path: Path) -> None:
    first, second = talk()
    found = read(written(tmp_path, [first, first, second]))
    assert len(found.turns) == 2
    assert found.passed_over == {"told twice": 1}


def test_different_calls_that_a_server_gave_one_id_are_all_kept(tmp_path: Path) -> None:
    first, second = talk()
    for each in (first, second):
        each["id"] = each["response"]["id"] = "chatcmpl-0"
    assert len(read(written(tmp_path, [first, second])).turns) == 2


def test_calls_that_failed_and_calls_of_other_kinds_are_counted(tmp_path: Path) -> None:
    failed = line(3, [{"role": "user", "content": "x"}], {}, status="failure", response=None)
    embedded = line(4, "x", {}, call_type="aembedding")
    found = read(written(tmp_path, [*talk(), failed, embedded]))
    assert len(found.turns) == 2
    assert found.passed_over == {"that failed": 1, "of the type aembedding": 1}


def test_one_trace_can_be_taken_alone(tmp_path: Path) -> None:
    other = line(3, [{"role": "user", "content": "x"}], {"content": "y"}, trace_id="trace-2")
    found = read(written(tmp_path, [*talk(), other]), "trace-2")
    assert [each.turn.text for each in found.turns] == ["y"]
    assert found.passed_over == {"of other traces": 2}


def test_calls_in_the_forms_of_other_apis_are_read(tmp_path: Path) -> None:
    anthropic = line(
        1,
        [{"role": "user", "content": [{"type": "text", "text": "List."}]}],
        {},
        call_type="anthropic_messages",
        model="claude-x",
        model_parameters={"system": "Be brief.", "max_tokens": 5},
    )
    anthropic["response"] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "t", "name": "bash", "input": {"command": "ls"}}],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }
    responses = line(
        2,
        [{"role": "user", "content": "List."}],
        {},
        call_type="aresponses",
        model_parameters={"instructions": "Be brief."},
    )
    responses["response"] = {
        "id": "resp_1",
        "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a.txt"}]}],
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }
    one, two = read(written(tmp_path, [anthropic, responses])).turns
    assert [(message.role, message.text) for message in one.ask.messages] == [
        ("system", "Be brief."),
        ("user", "List."),
    ]
    assert one.turn.calls[0].name == "bash"
    assert [(message.role, message.text) for message in two.ask.messages] == [
        ("system", "Be brief."),
        ("user", "List."),
    ]
    assert two.turn.text == "a.txt"


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ('{"id": "x", "messages": [{"role"', "line 3: not a line of JSON, and the file ends in it"),
        ("Traceback (most recent call last):\n", "line 3: not a line of JSON"),
        ("[1]\n", "line 3: not of this format"),
        ('{"status": 5}\n', r"line 3: not of this format: .*\$\.status"),
        (
            '{"call_type": "completion", "messages": "redacted-by-litellm", "response": {}}\n',
            "line 3: messages: .*not logged",
        ),
        ('{"messages": [{"role": "user"}], "response": null}\n', "line 3: response: .*not logged"),
        ('{"messages": [1], "response": {"choices": []}}\n', "line 3: not what completion takes"),
        (
            '{"messages": [], "response": {"text": "x"}}\n',
            "line 3: not what completion takes and gives: response: found the fields text",
        ),
        ('{"messages": "\\ud800"}\n', "line 3: not a line of JSON"),
        ("\x00\n", "line 3: not a line of JSON"),
    ],
)
def test_what_is_no_line_is_an_error_with_file_and_line(tmp_path: Path, broken: str, says: str) -> None:
    file = written(tmp_path, talk())
    with open(file, "a") as stream:
        stream.write(broken)
    with pytest.raises(InputError, match=says) as raised:
        read(file)
    assert raised.value.where == f"{file}: line 3"


def test_a_file_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "none")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "choices", "message", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["id", "messages", "response", "model", "startTime", "call_type", "status", "model_parameters"]
        ),
        JSON,
    )
)
def test_any_line_is_read_or_refused_with_its_place(
    tmp_path_factory: pytest.TempPathFactory, fields: dict[str, Any]
) -> None:
    file = written(tmp_path_factory.mktemp("log"), [fields])
    try:
        read(file)
    except InputError as error:
        assert "line 1" in error.where


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 2**16))
def test_any_damage_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, noise: bytes, seed: int) -> None:
    file = written(tmp_path_factory.mktemp("log"), talk())
    data = file.read_bytes()
    place = random.Random(seed).randrange(len(data))
    file.write_bytes(data[:place] + noise)
    try:
        read(file)
    except InputError as error:
        assert ": line " in error.where
