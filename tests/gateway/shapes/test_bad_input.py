"""Whatever comes: an answer of our own types, or BadShape, and never another exception."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.gateway.shapes.all import parse_answer, parse_request, render_answer
from bakeoff.gateway.shapes.base import Ask, Turn
from bakeoff.gateway.shapes.reading import BadShape
from bakeoff.records.exchanges import Api

SAMPLES = Path(__file__).parent / "samples"
BODIES: dict[str, bytes] = {file.stem: file.read_bytes() for file in sorted(SAMPLES.glob("*.json"))}
APIS: tuple[Api, ...] = (
    "openai-chat",
    "openai-responses",
    "anthropic-messages",
    "anthropic-count",
    "gemini",
    "openai-embeddings",
    "models",
    "other",
)
WORDS = [
    "role",
    "assistant",
    "tool",
    "user",
    "type",
    "text",
    "content",
    "parts",
    "tools",
    "tool_calls",
    "function",
    "arguments",
    "name",
    "id",
    "choices",
    "delta",
    "message",
    "usage",
    "index",
    "output",
    "item",
    "output_index",
    "content_block",
    "functionCall",
    "candidates",
    "function_call",
    "summary",
    "tool_use",
    "input",
    "partial_json",
]
EVENTS = (
    "response.output_item.added",
    "response.output_text.delta",
    "response.function_call_arguments.delta",
    "response.completed",
    "message_start",
    "content_block_start",
    "content_block_delta",
    "message_delta",
    "",
)

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=9)
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=12,
)


def read(api: Api, body: bytes) -> None:
    try:
        ask = parse_request(api, "/v1beta/models/m:streamGenerateContent", body)
        assert isinstance(ask, Ask)
        render_answer(api, ask, Turn(text="x"), seq=1)
    except BadShape as error:
        assert str(error)
    for stream in (False, True):
        try:
            assert isinstance(parse_answer(api, body, stream=stream), Turn)
        except BadShape as error:
            assert not stream
            assert str(error)


@settings(max_examples=200, deadline=None)
@given(api=st.sampled_from(APIS), value=values)
def test_any_json(api: Api, value: Any) -> None:
    read(api, json.dumps(value).encode())


events = st.tuples(st.sampled_from(EVENTS), st.dictionaries(st.sampled_from(WORDS), values, max_size=4))


@settings(max_examples=100, deadline=None)
@given(api=st.sampled_from(APIS), events=st.lists(events, max_size=4))
def test_any_stream_of_events(api: Api, events: list[tuple[str, dict[str, Any]]]) -> None:
    body = b"".join(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode() for name, data in events)
    assert isinstance(parse_answer(api, body, stream=True), Turn)


@settings(max_examples=150, deadline=None)
@given(api=st.sampled_from(APIS), body=st.binary(max_size=80))
def test_any_bytes(api: Api, body: bytes) -> None:
    read(api, body)


@settings(max_examples=150, deadline=None)
@given(api=st.sampled_from(APIS), name=st.sampled_from(sorted(BODIES)), data=st.data())
def test_real_requests_that_were_cut_or_have_a_wrong_byte(api: Api, name: str, data: st.DataObject) -> None:
    body = BODIES[name]
    at = data.draw(st.integers(0, len(body) - 1))
    read(
        api,
        body[:at]
        if data.draw(st.booleans())
        else body[:at] + data.draw(st.binary(min_size=1, max_size=2)) + body[at + 1 :],
    )


@settings(max_examples=120, deadline=None)
@given(api=st.sampled_from(APIS), name=st.sampled_from(sorted(BODIES)), value=values, data=st.data())
def test_real_requests_with_a_value_of_another_kind_somewhere(
    api: Api, name: str, value: Any, data: st.DataObject
) -> None:
    body = json.loads(BODIES[name])
    place: Any = body
    while True:
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            place[key] = value
            break
        place = place[key]
    read(api, json.dumps(body).encode())


@pytest.mark.parametrize("api", APIS)
def test_numbers_beyond_64_bits_and_lone_surrogates(api: Api) -> None:
    big = "9" * 30
    read(api, f'{{"messages":[{{"role":"assistant","tool_calls":[{{"function":{{"arguments":{big}}}}}]}}]}}'.encode())
    read(
        api, f'{{"messages":[{{"role":"assistant","content":[{{"type":"tool_use","input":{{"a":{big}}}}}]}}]}}'.encode()
    )
    read(api, f'{{"usage":{{"prompt_tokens":{big},"input_tokens":-1,"output_tokens":true}},"choices":[]}}'.encode())
    read(api, rb'{"messages":[{"role":"user","content":"\udfff"}],"model":"\ud800"}')
