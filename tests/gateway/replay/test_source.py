from __future__ import annotations

import asyncio
import gzip
import json
import time
import zlib
from typing import Any

import pytest
from msgspec import structs

import recorded_traffic as traffic
from bakeoff.errors import ModelError
from bakeoff.gateway.replay import given
from bakeoff.gateway.replay.declared import Volatile
from bakeoff.gateway.replay.source import Replay
from bakeoff.gateway.traffic import Answer, Refused
from bakeoff.records.replays import ReplayReport

STREAM = (("content-type", "text/event-stream"),)


def kind_of(answer: Answer) -> str:
    return next(value for name, value in answer.headers if name.lower() == "content-type")


def recorded(*answers: str, **fields: Any) -> traffic.Memory:
    """A conversation that grows by two messages at each request."""
    recording = traffic.Memory()
    texts: list[str] = []
    for number, answer in enumerate(answers):
        recording.add(traffic.chat(*texts, f"do {number}"), answer, **fields)
        texts += [f"do {number}", answer]
    return recording


async def refused(replay: Replay, body: Any, **fields: Any) -> Refused:
    with pytest.raises(Refused) as found:
        await replay.answer(traffic.ask(body, **fields))
    return found.value


async def test_an_answer_has_the_recorded_status_headers_and_chunks() -> None:
    recording = traffic.Memory()
    headers = (("Content-Type", "text/event-stream"), ("x-request-id", "r1"), ("X-Request-Id", "r2"))
    connection = (("Content-Length", "9"), ("Transfer-Encoding", "chunked"), ("connection", "close"))
    chunks = [b"data: 1\n\n", b"da", b"ta: \xff\n\n"]
    recording.add(traffic.chat("a"), chunks=chunks, response_headers=(*headers, *connection), status=201)
    answer = await Replay.open(recording).answer(traffic.ask(traffic.chat("a")))
    assert (answer.status, answer.headers, answer.via) == (201, headers, "replayed")
    assert [piece async for piece in answer.body] == chunks


async def test_errors_that_the_agent_saw_come_again_and_then_what_followed() -> None:
    recording = traffic.Memory()
    recording.add(traffic.chat("a"), '{"error": {}}', status=429, response_headers=(("retry-after", "0"),))
    recording.add(traffic.chat("a"), "fine")
    replay = Replay.open(recording)
    first = await replay.answer(traffic.ask(traffic.chat("a")))
    assert (first.status, first.headers) == (429, (("retry-after", "0"),))
    assert await traffic.told(replay, traffic.ask(traffic.chat("a"))) == b"fine"


async def test_a_stream_that_was_cut_is_cut_at_the_same_place() -> None:
    recording = traffic.Memory()
    recording.add(traffic.chat("a", stream=True), chunks=[b"data: 1\n\n", b"dat"], end="cut", error="connection lost")
    replay = Replay.open(recording)
    assert await traffic.pieces(replay, traffic.ask(traffic.chat("a", stream=True))) == ([b"data: 1\n\n", b"dat"], True)


async def test_after_a_cut_the_client_that_asks_again_without_a_stream_gets_what_it_got_then() -> None:
    recording = traffic.Memory()
    recording.add(traffic.chat("a", stream=True), chunks=[b"dat"], end="cut")
    recording.add(traffic.chat("a"), "whole")
    replay = Replay.open(recording)
    await traffic.pieces(replay, traffic.ask(traffic.chat("a", stream=True)))
    assert await traffic.told(replay, traffic.ask(traffic.chat("a"))) == b"whole"
    assert replay.unused() == ()


async def test_what_the_agent_broke_off_is_held_open_for_it_to_break_off_again(monkeypatch: pytest.MonkeyPatch) -> None:
    recording = traffic.Memory()
    recording.add(traffic.chat("a"), chunks=[b"one"], end="cancelled")
    answer = await Replay.open(recording).answer(traffic.ask(traffic.chat("a")))
    assert await anext(answer.body) == b"one"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(answer.body), 0.05)
    monkeypatch.setattr(given, "HELD_SEC", 0)
    again = traffic.pieces(Replay.open(recording), traffic.ask(traffic.chat("a")))
    assert await again == ([b"one"], True)


@pytest.mark.parametrize("end", ["error", "cancelled"])
async def test_where_nothing_came_nothing_comes(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given, "HELD_SEC", 0)
    recording = traffic.Memory()
    recording.add(traffic.chat("a"), "", status=None, end=end, error="no route")
    with pytest.raises(ModelError, match="no route"):
        await Replay.open(recording).answer(traffic.ask(traffic.chat("a")))


async def test_what_the_gateway_answered_itself_and_heads_are_no_part_of_a_replay() -> None:
    recording = recorded("one")
    recording.add(traffic.chat("x"), "over budget", status=400, via="gateway")
    recording.add("", "", api="other", method="HEAD", path="/")
    replay = Replay.open(recording)
    assert replay.unused() == (1,)
    assert (await refused(replay, traffic.chat("x"))).kind == "replay_diverged"


async def test_a_changed_prompt_diverges_with_the_difference_and_ends_the_trial() -> None:
    replay = Replay.open(recorded("one", "two"))
    refusal = await refused(replay, traffic.chat("do O"))
    assert (refusal.status, refusal.kind, refusal.final) == (409, "replay_diverged", True)
    assert refusal.detail.splitlines() == [
        "the nearest recorded request is 1; of 1 recorded and 1 live messages the first 0 are equal",
        "messages[0] (user).content:",
        "  -do 0",
        "  +do O",
    ]
    assert refusal.message == (
        "the fixture has no answer to this request: the nearest recorded request is 1; "
        "of 1 recorded and 1 live messages the first 0 are equal; messages[0] (user).content differs"
    )
    await refused(replay, traffic.chat("do O"))
    assert replay.report() == ReplayReport(
        served=0, unused=(1, 2), missed=1, ended="replay_diverged", nearest=1, difference=refusal.detail
    )


async def test_after_the_last_request_the_replay_is_exhausted() -> None:
    replay = Replay.open(recorded("one", "two"))
    await traffic.told(replay, traffic.ask(traffic.chat("do 0")))
    await traffic.told(replay, traffic.ask(traffic.chat("do 0", "one", "do 1")))
    refusal = await refused(replay, traffic.chat("do 0", "one", "do 1", "two", "do 2"))
    assert (refusal.status, refusal.kind, refusal.final) == (409, "replay_exhausted", True)
    report = replay.report()
    assert (report.served, report.unused, report.missed, report.ended, report.nearest) == (
        2,
        (),
        1,
        "replay_exhausted",
        2,
    )


async def test_a_repeat_is_told_as_one() -> None:
    replay = Replay.open(recorded("one", "two"))
    await traffic.told(replay, traffic.ask(traffic.chat("do 0")))
    assert "equal to recorded request 1" in (await refused(replay, traffic.chat("do 0"))).detail


async def test_an_api_that_was_not_recorded_is_named() -> None:
    refusal = await refused(Replay.open(recorded("one")), {"contents": []}, api="gemini")
    assert "gemini" in refusal.message


async def test_strictly_every_byte_counts() -> None:
    replay = Replay.open(recorded("one", "two"), match="strict")
    body = traffic.as_bytes(traffic.chat("do 0"))
    refusal = await refused(replay, body.replace(b'": "', b'":"', 1))
    assert "byte 9 of the body" in refusal.detail
    assert "path:" in (await refused(replay, body, path="/v2/chat/completions")).detail
    assert await traffic.told(replay, traffic.ask(body)) == b"one"


async def test_in_sequence_anything_is_answered_until_the_end() -> None:
    replay = Replay.open(recorded("one", "two"), match="sequential")
    assert await traffic.told(replay, traffic.ask(traffic.chat("zzz"))) == b"one"
    assert await traffic.told(replay, traffic.ask(b"\xff no json")) == b"two"
    assert (await refused(replay, traffic.chat("zzz"))).kind == "replay_exhausted"


async def test_a_stream_is_made_for_a_client_that_asks_for_one_where_none_was_recorded_and_the_other_way() -> None:
    whole = {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello there"}}],
    }
    recording = traffic.Memory()
    recording.add(traffic.chat("a"), whole)
    answer = await Replay.open(recording).answer(traffic.ask(traffic.chat("a", stream=True)))
    chunks = [piece async for piece in answer.body]
    assert kind_of(answer).startswith("text/event-stream")
    stream = b"".join(chunks)
    assert stream.startswith(b"data: ")

    recording = traffic.Memory()
    recording.add(traffic.chat("a", stream=True), chunks=chunks, response_headers=STREAM)
    answer = await Replay.open(recording).answer(traffic.ask(traffic.chat("a")))
    body = json.loads(b"".join([piece async for piece in answer.body]))
    assert body["choices"][0]["message"]["content"] == "hello there"
    assert kind_of(answer).startswith("application/json")


async def test_an_answer_in_the_other_form_that_cannot_be_read_is_given_as_it_was() -> None:
    recording = traffic.Memory()
    recording.add(traffic.chat("a"), "no json")
    assert await traffic.told(Replay.open(recording), traffic.ask(traffic.chat("a", stream=True))) == b"no json"


@pytest.mark.parametrize(
    ("accepts", "encoded"),
    [
        ("gzip, deflate", True),
        ("zstd, gzip;q=0.5", True),
        ("*", True),
        ("zstd", False),
        ("gzip;q=0", False),
        ("", False),
    ],
)
async def test_a_compressed_answer_stays_so_where_the_client_takes_it(accepts: str, encoded: bool) -> None:
    packed = gzip.compress(b"hello hello hello", mtime=0)
    recording = traffic.Memory()
    headers = (("content-type", "text/plain"), ("Content-Encoding", "gzip"))
    recording.add(traffic.chat("a"), chunks=[packed[:7], packed[7:]], response_headers=headers)
    asked = traffic.ask(traffic.chat("a"), headers=(("Accept-Encoding", accepts),))
    answer = await Replay.open(recording).answer(asked)
    got = [piece async for piece in answer.body]
    assert got == ([packed[:7], packed[7:]] if encoded else [b"hello hello hello"])
    assert answer.headers == (headers if encoded else headers[:1])


async def test_compressed_requests_are_compared_by_what_they_say() -> None:
    body = traffic.as_bytes(traffic.chat("a"))
    recording = traffic.Memory()
    recording.add(zlib.compress(body), "one", request_headers=(("content-encoding", "deflate"),))
    recording.add(body, "two", request_headers=(("content-encoding", "gzip"),))  # stored without it
    replay = Replay.open(recording)
    live = traffic.ask(gzip.compress(body), headers=(("Content-Encoding", "gzip"),))
    assert [await traffic.told(replay, one) for one in (live, traffic.ask(body))] == [b"one", b"two"]


async def test_bodies_that_are_no_text_are_found_and_compared_too() -> None:
    recording = traffic.Memory()
    recording.add(b"\x00\xff\xfe" * 10, "one", api="other")
    recording.add(b'{"messages": [{"content": "\xff"}]}', "two", api="openai-chat")
    replay = Replay.open(recording)
    assert (await refused(replay, b"\x00\xff\xfd" * 10, api="other")).kind == "replay_diverged"
    assert await traffic.told(replay, traffic.ask(b"\x00\xff\xfe" * 10, api="other")) == b"one"
    assert await traffic.told(replay, traffic.ask(b'{"messages": [{"content": "\xff"}]}')) == b"two"


def hide(data: bytes) -> bytes:
    return data.replace(b"hunter2", b"[redacted:PW]").replace(b'"a": "b", "model"', b'"a": "[redacted]", "model"')


@pytest.mark.parametrize("match", ["strict", "normalised"])
async def test_a_live_request_is_redacted_as_the_recorded_one_was(match: Any) -> None:
    body = {"a": "b", "model": "m", "messages": [{"role": "user", "content": "it is hunter2"}]}
    for fields in (body, {"model": "m", "messages": body["messages"]}):
        recording = traffic.Memory()
        recording.add(hide(traffic.as_bytes(fields)), "one")
        replay = Replay.open(recording, match=match, redact=hide)
        changed = traffic.as_bytes(fields).replace(b"it is", b"it was")
        assert "hunter2" not in (await refused(replay, changed)).detail
        assert await traffic.told(replay, traffic.ask(fields)) == b"one"


async def test_chunks_come_at_once_or_in_their_recorded_time() -> None:
    recording = traffic.Memory()
    recording.add(traffic.chat("a"), "abcd", chunks=[b"ab", b"cd"])
    recording.exchanges[0] = structs.replace(recording.exchanges[0], chunks=((20_000, 2), (60_000, 4)))
    for timed in (False, True):
        begun = time.monotonic()
        answer = await Replay.open(recording, timed=timed).answer(traffic.ask(traffic.chat("a")))
        came = [time.monotonic() - begun async for _ in answer.body]
        assert (came[0] >= 0.02, came[1] >= 0.06) == (timed, timed)


@pytest.mark.parametrize("chunks", [((1, 99), (0, 2)), ((5, 3), (4, 1)), (), ((0, 0), (0, -4))])
async def test_borders_that_do_not_fit_the_body_lose_nothing(chunks: Any) -> None:
    recording = traffic.Memory()
    exchange = recording.add(traffic.chat("a"), "abcdef")
    recording.exchanges[0] = structs.replace(exchange, chunks=chunks)
    assert await traffic.told(Replay.open(recording), traffic.ask(traffic.chat("a"))) == b"abcdef"


async def test_agents_that_ask_at_once_each_get_their_own_answers() -> None:
    recording = traffic.Memory()
    for turn in range(3):
        for agent in range(20):
            texts = [f"agent {agent}", *(["ok", "go on"] * turn)]
            recording.add(traffic.chat(*texts), f"{agent}.{turn}", conversation=str(agent))
    replay = Replay.open(recording)

    async def agent(number: int) -> list[bytes]:
        texts = [f"agent {number}"]
        out: list[bytes] = []
        for _ in range(3):
            out.append(await traffic.told(replay, traffic.ask(traffic.chat(*texts))))
            await asyncio.sleep(0)
            texts += ["ok", "go on"]
        return out

    got = await asyncio.gather(*(agent(number) for number in reversed(range(20))))
    assert got == [[f"{number}.{turn}".encode() for turn in range(3)] for number in reversed(range(20))]
    assert replay.unused() == ()


async def test_two_replays_of_a_fixture_give_equal_reports() -> None:
    reports: list[ReplayReport] = []
    for _ in range(2):
        replay = Replay.open(recorded("one", "two"), volatile=Volatile(drop=("user",)))
        await traffic.told(replay, traffic.ask(traffic.chat("do 0", user="me")))
        await refused(replay, traffic.chat("do 0", "one", "do something else"))
        reports.append(replay.report())
    assert reports[0] == reports[1]
    assert reports[0].unused == (2,)


async def test_a_models_list_may_be_asked_for_again() -> None:
    recording = recorded("one")
    recording.add("", "list", api="models", method="GET")
    replay = Replay.open(recording)
    asked = [traffic.ask("", api="models", method="GET") for _ in range(3)]
    assert [await traffic.told(replay, one) for one in asked] == [b"list"] * 3
    assert replay.report().served == 3
