"""Recordings without raw bytes: what is said is compared, through whichever API."""

from __future__ import annotations

import json
from typing import Any

import pytest

import recorded_traffic as traffic
from bakeoff.errors import InputError
from bakeoff.gateway.replay.declared import NOTHING, volatile_for
from bakeoff.gateway.replay.source import Replay
from bakeoff.gateway.shapes.all import parse_answer
from bakeoff.gateway.traffic import Refused
from bakeoff.records.exchanges import Api

CALL = {"id": "c1", "type": "function", "function": {"name": "bash", "arguments": '{"command": "ls"}'}}
SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "List the files."}
RESULT = "Wall time: 0.10 seconds\nOutput:\n/app/a.txt"


def answer(message: dict[str, Any], finish: str) -> dict[str, Any]:
    return {"id": "x", "model": "m", "choices": [{"index": 0, "finish_reason": finish, "message": message}]}


def recording(*, system: bool = True) -> traffic.Memory:
    first = [SYSTEM, USER] if system else [USER]
    said = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    out = traffic.Memory()
    out.add({"model": "m", "messages": first}, answer(said, "tool_calls"))
    second = [*first, said, {"role": "tool", "tool_call_id": "c1", "content": RESULT}]
    out.add({"model": "m", "messages": second}, answer({"role": "assistant", "content": "One file: a.txt"}, "stop"))
    return out


def asks(api: Api, result: str, call: str) -> list[dict[str, Any]]:
    """The two requests of the conversation as an agent with another API, other ids and other tools sends them."""
    if api == "openai-responses":
        first: list[Any] = [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "List the files."}]}
        ]
        called = {"type": "function_call", "call_id": call, "name": "bash", "arguments": '{"command":"ls"}'}
        output = {"type": "function_call_output", "call_id": call, "output": result}
        base = {"model": "other", "instructions": "Be brief.", "stream": True, "tools": []}
        return [base | {"input": first}, base | {"input": [*first, called, output]}]
    first = [{"role": "user", "content": [{"type": "text", "text": "List the files."}]}]
    called = {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": call, "name": "bash", "input": {"command": "ls"}}],
    }
    output = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call, "content": result}]}
    base = {"model": "other", "system": [{"type": "text", "text": "Be brief."}], "max_tokens": 9, "stream": True}
    return [base | {"messages": first}, base | {"messages": [*first, called, output]}]


@pytest.mark.parametrize("api", ["openai-responses", "anthropic-messages"])
@pytest.mark.parametrize("system", [True, False])
async def test_an_import_answers_an_agent_of_another_api(api: Api, system: bool) -> None:
    roots = {"workdir": ("/app", "/srv/work")}
    replay = Replay.open(recording(system=system), volatile=volatile_for("codex", "0.169.0"), roots=roots, raw=False)
    first, second = asks(api, RESULT.replace("/app", "/srv/work").replace("0.10", "0.25"), "call_of_its_own")
    got = await replay.answer(traffic.ask(first, api=api))
    turn = parse_answer(api, b"".join([piece async for piece in got.body]), stream=True)
    assert [(call.name, json.loads(call.arguments)) for call in turn.calls] == [("bash", {"command": "ls"})]
    assert any("event-stream" in value for _, value in got.headers)
    last = parse_answer(api, await traffic.told(replay, traffic.ask(second, api=api)), stream=True)
    assert last.text == "One file: a.txt"
    assert replay.unused() == ()


async def test_one_changed_byte_diverges_and_is_shown_as_what_was_said() -> None:
    replay = Replay.open(recording(), volatile=NOTHING, raw=False)
    second = asks("anthropic-messages", RESULT.replace("a.txt", "a.tXt"), "c9")[1]
    with pytest.raises(Refused) as refusal:
        await replay.answer(traffic.ask(second, api="anthropic-messages"))
    lines = refusal.value.detail.splitlines()
    assert "  -/app/a.txt" in lines
    assert "  +/app/a.tXt" in lines


async def test_a_changed_system_text_counts_where_the_import_has_one() -> None:
    first = asks("anthropic-messages", RESULT, "c1")[0] | {"system": "Be long."}
    with pytest.raises(Refused):
        await Replay.open(recording(), raw=False).answer(traffic.ask(first, api="anthropic-messages"))
    await Replay.open(recording(system=False), raw=False).answer(traffic.ask(first, api="anthropic-messages"))


async def test_a_live_request_is_redacted_before_it_is_read() -> None:
    out = traffic.Memory()
    out.add(traffic.chat("key [redacted:K]"), answer({"role": "assistant", "content": "ok"}, "stop"))
    replay = Replay.open(out, raw=False, redact=lambda data: data.replace(b"hunter2", b"[redacted:K]"))
    told = json.loads(await traffic.told(replay, traffic.ask(traffic.chat("key hunter2"))))
    assert told["choices"][0]["message"]["content"] == "ok"


async def test_in_sequence_an_import_answers_through_any_api() -> None:
    replay = Replay.open(recording(), match="sequential", raw=False)
    for api in ("anthropic-messages", "openai-responses"):
        await traffic.told(replay, traffic.ask(asks(api, "x", "y")[1], api=api))
    with pytest.raises(Refused, match="ended"):
        await replay.answer(traffic.ask(traffic.chat("more")))


async def test_what_is_no_conversation_is_read_as_ever() -> None:
    out = recording()
    out.add("", "list", api="models", method="GET")
    replay = Replay.open(out, raw=False)
    assert await traffic.told(replay, traffic.ask("", api="models", method="GET")) == b"list"
    with pytest.raises(Refused):
        await replay.answer(traffic.ask(b"\xff", api="openai-chat"))


def test_an_import_cannot_be_compared_strictly() -> None:
    with pytest.raises(InputError, match="raw bytes"):
        Replay.open(recording(), match="strict", raw=False)
