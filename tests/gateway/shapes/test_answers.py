"""What is written for one API is read back as the same answer, whole and as a stream, and a cut stream gives what came."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.gateway.shapes import sse
from bakeoff.gateway.shapes.all import parse_answer, render_answer, render_error
from bakeoff.gateway.shapes.base import Ask, Call, Tool, Turn
from bakeoff.records.exchanges import Api
from bakeoff.records.results import Usage

TALKS: tuple[Api, ...] = ("openai-chat", "openai-responses", "anthropic-messages", "gemini")

texts = st.text(max_size=120)
arguments = st.dictionaries(st.text(max_size=9), st.text(max_size=60) | st.integers(-9, 9) | st.booleans(), max_size=3)
calls = st.builds(
    Call,
    id=st.uuids().map(lambda uuid: f"call_{uuid.hex[:8]}"),
    name=st.sampled_from(["Bash", "exec_command", "space.tool"]),
    arguments=arguments.map(lambda table: msgspec.json.encode(table).decode()),
)
usages = st.builds(
    lambda cached, more, out: Usage(input_tokens=cached + more, output_tokens=out, cached_tokens=cached),
    *[st.integers(0, 10_000)] * 3,
)
turns = st.builds(
    Turn,
    text=texts,
    reasoning=texts,
    calls=st.lists(calls, max_size=3, unique_by=lambda call: call.id).map(tuple),
    stop=st.just("end"),
    model=st.just("demo"),
    id=st.just("answer-1"),
    usage=usages,
)


def ask(api: Api, *, stream: bool, **more: Any) -> Ask:
    way = "streamGenerateContent" if stream else "generateContent"
    path = f"/v1beta/models/demo:{way}?alt=sse" if api == "gemini" else "/v1/x"
    return Ask(api=api, model="demo", stream=stream, path=path, include_usage=True, **more)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", TALKS)
@settings(max_examples=25, deadline=None)
@given(turn=turns)
def test_an_answer_is_read_back_as_it_was_written(api: Api, stream: bool, turn: Turn) -> None:
    rendered = render_answer(api, ask(api, stream=stream), turn, seq=7)
    assert rendered.status == 200
    stop = "tool" if turn.calls else "end"
    assert parse_answer(api, rendered.body, stream=stream) == msgspec.structs.replace(turn, stop=stop)


@pytest.mark.parametrize("api", TALKS)
@settings(max_examples=25, deadline=None)
@given(turn=turns, data=st.data())
def test_a_cut_stream_gives_what_came(api: Api, turn: Turn, data: st.DataObject) -> None:
    body = render_answer(api, ask(api, stream=True), turn, seq=7).body
    came = parse_answer(api, body[: data.draw(st.integers(0, len(body)))], stream=True)
    assert turn.text.startswith(came.text)
    assert turn.reasoning.startswith(came.reasoning)
    assert len(came.calls) <= len(turn.calls)
    for there, whole in zip(came.calls, turn.calls, strict=False):
        assert there.arguments == "{}" or whole.arguments.startswith(there.arguments)


@pytest.mark.parametrize("api", TALKS)
@pytest.mark.parametrize("stop", ["length", "refusal"])
@pytest.mark.parametrize("stream", [False, True])
def test_why_an_answer_ended_is_kept(api: Api, stop: Any, stream: bool) -> None:
    body = render_answer(api, ask(api, stream=stream), Turn(text="so far", stop=stop), seq=1).body
    answer = parse_answer(api, body, stream=stream)
    assert (answer.stop, answer.text) == (stop, "so far") or (api, answer.stop) == ("openai-responses", stop)


@pytest.mark.parametrize("api", TALKS)
def test_a_stream_comes_in_several_chunks_and_equal_requests_get_equal_bytes(api: Api) -> None:
    turn = Turn(text="word " * 60, calls=(Call("", "Bash", '{"command":"true"}'),))
    first = render_answer(api, ask(api, stream=True), turn, seq=3)
    assert first == render_answer(api, ask(api, stream=True), turn, seq=3)
    assert len(first.chunks) > 5
    assert dict(first.headers)["Content-Type"].startswith("text/event-stream")
    assert all(chunk.endswith(b"\n\n") for chunk in first.chunks)
    other = render_answer(api, ask(api, stream=True), turn, seq=4)
    assert (
        parse_answer(api, first.body, stream=True).calls[0].id != parse_answer(api, other.body, stream=True).calls[0].id
    )


def test_chat_ends_with_done_and_tells_usage_where_it_was_asked_for() -> None:
    turn = Turn(text="hi", usage=Usage(input_tokens=3, output_tokens=1))
    asked = render_answer("openai-chat", ask("openai-chat", stream=True), turn, seq=1)
    assert asked.chunks[-1] == b"data: [DONE]\n\n"
    assert json.loads(asked.chunks[-2].removeprefix(b"data: "))["usage"]["total_tokens"] == 4
    plain = render_answer("openai-chat", Ask(api="openai-chat", model="m", stream=True), turn, seq=1)
    assert b"usage" not in plain.body


def test_events_of_responses_and_messages_carry_their_names() -> None:
    turn = Turn(text="hi", calls=(Call("c", "Bash", "{}"),))
    for api, first, last in (
        ("openai-responses", "response.created", "response.completed"),
        ("anthropic-messages", "message_start", "message_stop"),
    ):
        named = list(sse.parse(render_answer(api, ask(api, stream=True), turn, seq=1).body))  # type: ignore[arg-type]
        assert [event.name for event in named] == [json.loads(event.data)["type"] for event in named]
        assert (named[0].name, named[-1].name) == (first, last)


def test_a_call_has_the_form_in_which_its_tool_was_offered() -> None:
    tools = (Tool("apply_patch", kind="custom"), Tool("local_shell", kind="local_shell"), Tool("space.tool"))
    turn = Turn(
        calls=(
            Call("a", "apply_patch", "*** Begin"),
            Call("b", "local_shell", '{"type":"exec","command":["true"]}'),
            Call("c", "space.tool", "{}"),
        )
    )
    for stream in (False, True):
        rendered = render_answer("openai-responses", ask("openai-responses", stream=stream, tools=tools), turn, seq=1)
        assert parse_answer("openai-responses", rendered.body, stream=stream).calls == turn.calls
    output = json.loads(
        render_answer("openai-responses", ask("openai-responses", stream=False, tools=tools), turn, seq=1).body
    )["output"]
    assert [item["type"] for item in output] == ["custom_tool_call", "local_shell_call", "function_call"]
    assert (output[2]["namespace"], output[2]["name"]) == ("space", "tool")


@pytest.mark.parametrize("api", TALKS)
@pytest.mark.parametrize("stream", [False, True])
def test_arguments_that_are_no_object_still_make_an_answer_that_can_be_read(api: Api, stream: bool) -> None:
    turn = Turn(calls=(Call("c", "Bash", '{"command": "tr'),))
    came = parse_answer(api, render_answer(api, ask(api, stream=stream), turn, seq=1).body, stream=stream)
    assert '{\\"command' in came.calls[0].arguments or came.calls[0].arguments == turn.calls[0].arguments


def test_the_smallest_stream_of_responses_is_read() -> None:
    body = b"".join(
        sse.render(json.dumps(event).encode(), event["type"])  # type: ignore[call-overload]
        for event in (
            {
                "type": "response.output_item.done",
                "item": {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]},
            },
            {
                "type": "response.output_item.done",
                "item": {"type": "function_call", "call_id": "c", "name": "exec_command", "arguments": "{}"},
            },
            {"type": "response.completed", "response": {"id": "r"}},
        )
    )
    answer = parse_answer("openai-responses", body, stream=True)
    assert (answer.text, answer.calls, answer.stop, answer.id) == (
        "hi",
        (Call("c", "exec_command", "{}"),),
        "tool",
        "r",
    )
    assert answer.usage == Usage()


def test_usage_counts_what_a_cache_gave_as_input() -> None:
    usage = {"input_tokens": 3, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 500, "output_tokens": 2}
    body = json.dumps({"content": [], "stop_reason": "end_turn", "usage": usage}).encode()
    answer = parse_answer("anthropic-messages", body, stream=False)
    assert answer.usage == Usage(input_tokens=543, output_tokens=2, cached_tokens=40)


def test_calls_without_an_index_are_told_apart_by_their_ids() -> None:
    deltas = [
        {"id": "a", "function": {"name": "Bash", "arguments": "{"}},
        {"function": {"arguments": "}"}},
        {"id": "b", "function": {"name": "Bash", "arguments": "{}"}},
    ]
    chunks = [{"choices": [{"delta": {"tool_calls": [delta]}}]} for delta in deltas]
    body = b"".join(sse.render(json.dumps(chunk).encode()) for chunk in chunks)
    answer = parse_answer("openai-chat", body, stream=True)
    assert answer.calls == (Call("a", "Bash", "{}"), Call("b", "Bash", "{}"))


def test_gemini_streams_an_array_where_no_events_were_asked_for() -> None:
    wanted = Ask(api="gemini", model="m", stream=True, path="/v1beta/models/m:streamGenerateContent")
    body = render_answer("gemini", wanted, Turn(text="hello"), seq=1).body
    assert isinstance(json.loads(body), list)
    assert parse_answer("gemini", body, stream=True).text == "hello"


def test_models_are_listed_for_every_client() -> None:
    listed = json.loads(render_answer("models", Ask(api="models", model=None), Turn(model="demo"), seq=1).body)
    assert [entry["id"] for entry in listed["data"]] == ["demo"]
    one = Ask(api="models", model="demo", path="/v1/models/demo")
    assert json.loads(render_answer("models", one, Turn(), seq=1).body)["id"] == "demo"
    google = Ask(api="models", model=None, path="/v1beta/models")
    assert (
        json.loads(render_answer("models", google, Turn(model="demo"), seq=1).body)["models"][0]["name"]
        == "models/demo"
    )


def test_tokens_are_counted_by_size_and_embeddings_are_refused() -> None:
    counted = render_answer("anthropic-count", Ask(api="anthropic-count", model="m", size=400), Turn(), seq=1)
    assert json.loads(counted.body) == {"input_tokens": 100}
    refused = render_answer("openai-embeddings", Ask(api="openai-embeddings", model="m"), Turn(), seq=1)
    assert refused.status == 400
    assert "embeddings" in json.loads(refused.body)["error"]["message"]


@pytest.mark.parametrize("api", TALKS)
def test_an_error_has_its_apis_form(api: Api) -> None:
    rendered = render_error(api, 429, "rate_limit_error", "slow down")
    error = json.loads(rendered.body)["error"]
    assert (rendered.status, error["message"]) == (429, "slow down")
    assert parse_answer(api, rendered.body, stream=False) == Turn(stop="other")
