"""One conversation has one key, through whichever API it goes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.gateway.shapes.all import parse_request
from bakeoff.gateway.shapes.base import Ask, Call, Message
from bakeoff.gateway.shapes.neutral import neutral, neutral_key
from bakeoff.records.exchanges import Api

BODIES: dict[Api, tuple[str, dict[str, Any]]] = {
    "openai-chat": (
        "/chat/completions",
        {
            "model": "a",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Add up."},
                {
                    "role": "assistant",
                    "content": "Looking.",
                    "tool_calls": [
                        {"id": "c9", "type": "function", "function": {"name": "sh", "arguments": '{"cmd":"ls","t":1}'}}
                    ],
                },
                {"role": "tool", "tool_call_id": "c9", "content": "x"},
            ],
        },
    ),
    "openai-responses": (
        "/responses",
        {
            "model": "b",
            "instructions": "Be brief.",
            "input": [
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Add up."}]},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Looking."}]},
                {"type": "function_call", "call_id": "k", "name": "sh", "arguments": '{"t": 1, "cmd": "ls"}'},
                {"type": "function_call_output", "call_id": "k", "output": "x"},
            ],
        },
    ),
    "anthropic-messages": (
        "/v1/messages",
        {
            "model": "c",
            "max_tokens": 9,
            "system": [{"type": "text", "text": "Be brief."}],
            "messages": [
                {"role": "user", "content": "Add up."},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "text", "text": "Looking."},
                        {"type": "tool_use", "id": "t", "name": "sh", "input": {"cmd": "ls", "t": 1}},
                    ],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]},
            ],
        },
    ),
    "gemini": (
        "/v1beta/models/d:generateContent",
        {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "Add up."}]},
                {
                    "role": "model",
                    "parts": [{"text": "Looking."}, {"functionCall": {"name": "sh", "args": {"cmd": "ls", "t": 1}}}],
                },
                {"role": "user", "parts": [{"functionResponse": {"name": "sh", "response": {"output": "x"}}}]},
            ],
        },
    ),
}


def ask(*messages: Message) -> Ask:
    return Ask(api="openai-chat", model="m", messages=messages)


def parsed(api: Api) -> Ask:
    path, body = BODIES[api]
    return parse_request(api, path, json.dumps(body).encode())


@pytest.mark.parametrize("api", BODIES)
def test_the_same_conversation_has_the_same_key_in_every_api(api: Api) -> None:
    assert neutral(parsed(api).messages) == neutral(parsed("openai-chat").messages)
    assert neutral_key(parsed(api)) == neutral_key(parsed("openai-chat"))


@pytest.mark.parametrize("api", BODIES)
def test_one_changed_byte_of_a_result_changes_the_key(api: Api) -> None:
    path, body = BODIES[api]
    text = json.dumps(body)
    changed = text.replace('"x"', '"y"')
    assert changed != text
    assert neutral_key(parse_request(api, path, changed.encode())) != neutral_key(parsed(api))


def test_results_of_parallel_calls_count_in_the_order_of_their_calls() -> None:
    calls = Message("assistant", calls=(Call("a", "sh", "{}"), Call("b", "sh", "{}")))
    one, two = Message("tool", text="1", call_id="a"), Message("tool", text="2", call_id="b")
    assert neutral_key(ask(calls, one, two)) == neutral_key(ask(calls, two, one))
    swapped = (Message("tool", text="2", call_id="a"), Message("tool", text="1", call_id="b"))
    assert neutral_key(ask(calls, *swapped)) != neutral_key(ask(calls, one, two))


def test_names_for_ids_tell_calls_apart_by_their_order() -> None:
    def talk(*ids: str) -> Ask:
        calls = Message("assistant", calls=tuple(Call(each, "sh", "{}") for each in ids))
        return ask(calls, *(Message("tool", text=str(i), call_id=each) for i, each in enumerate(ids)))

    assert neutral_key(talk("sh", "sh")) == neutral_key(talk("a", "b"))


def test_system_texts_count_unless_they_are_unknown() -> None:
    one, two = ask(Message("system", text="A"), Message("user", text="x")), ask(Message("user", text="x"))
    assert neutral_key(one) != neutral_key(two)
    assert neutral_key(one, system=False) == neutral_key(two, system=False)


def test_volatile_texts_are_normalised_wherever_they_stand() -> None:
    def told(when: str) -> Ask:
        call = Call("a", "sh", json.dumps({"cmd": when}))
        return ask(
            Message("user", text=when), Message("assistant", calls=(call,)), Message("tool", text=when, call_id="a")
        )

    def normal(text: str) -> str:
        return text.replace("noon", "<time>").replace("one", "<time>")

    assert neutral_key(told("noon"), normal) == neutral_key(told("one"), normal)
    assert neutral_key(told("noon")) != neutral_key(told("one"))


MESSAGES = st.lists(
    st.builds(
        Message,
        role=st.sampled_from(["system", "user", "assistant", "tool"]),
        text=st.text(max_size=4),
        calls=st.lists(
            st.builds(Call, st.sampled_from("abc"), st.sampled_from("fg"), st.text(max_size=6)), max_size=2
        ).map(tuple),
        call_id=st.sampled_from(["a", "b", None]),
    ),
    max_size=6,
)


@given(MESSAGES)
def test_any_conversation_has_a_key_that_its_reasoning_does_not_change(messages: list[Message]) -> None:
    import msgspec

    thinking = [msgspec.structs.replace(message, reasoning="hm") for message in messages]
    assert neutral_key(ask(*messages)) == neutral_key(ask(*thinking))
