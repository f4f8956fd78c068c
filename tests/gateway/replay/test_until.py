from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import recorded_traffic as traffic
from bakeoff.errors import InputError
from bakeoff.gateway.replay.source import Replay
from bakeoff.gateway.replay.until import Until
from bakeoff.gateway.traffic import Answer, Refused, Request


class Live:
    """A source that answers everything in its own way."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.closed = False

    async def answer(self, request: Request) -> Answer:
        self.asked.append(request)

        async def body() -> AsyncIterator[bytes]:
            yield b"live"

        return Answer(status=200, headers=(), body=body(), via="live")

    async def close(self) -> None:
        self.closed = True


def recording() -> traffic.Memory:
    """A main conversation of three requests, one of which failed first, beside more requests of a side call without tools."""
    out = traffic.Memory()
    tools = [{"type": "function", "function": {"name": "bash"}}]
    for number in range(5):
        out.add(traffic.chat(f"title {number}"), f"title {number}", conversation="titles")
    out.add(traffic.chat("a", tools=tools), "busy", status=529)
    out.add(traffic.chat("a", tools=tools), "one")
    out.add(traffic.chat("a", "one", "b", tools=tools), "two")
    out.add(traffic.chat("a", "one", "b", "two", "c", tools=tools), "three")
    return out


def main(*texts: str) -> Request:
    return traffic.ask(traffic.chat(*texts, tools=[{"type": "function", "function": {"name": "bash"}}]))


async def told(until: Until, request: Request) -> tuple[bytes, str]:
    answer = await until.answer(request)
    return b"".join([piece async for piece in answer.body]), answer.via


async def test_the_first_answers_of_the_main_conversation_are_recorded_and_all_else_is_live_after_them() -> None:
    live = Live()
    until = Until(Replay.open(recording()), live, 2)
    assert await told(until, traffic.ask(traffic.chat("title 0"))) == (b"title 0", "replayed")
    assert await told(until, main("a")) == (b"busy", "replayed")
    assert await told(until, main("a")) == (b"one", "replayed")
    assert await told(until, main("a", "one", "b")) == (b"two", "replayed")
    assert await told(until, main("a", "one", "b", "two", "c")) == (b"live", "live")
    assert await told(until, traffic.ask(traffic.chat("title 1"))) == (b"live", "live")
    report = until.report()
    assert (report.served, report.live, report.unused, report.ended) == (4, 2, (2, 3, 4, 5, 9), "")
    await until.close()
    assert live.closed


async def test_before_that_a_request_that_was_not_recorded_is_refused() -> None:
    live = Live()
    with pytest.raises(Refused, match="nearest"):
        await Until(Replay.open(recording()), live, 2).answer(main("something else"))
    assert live.asked == []


async def test_none_of_it_is_all_live() -> None:
    assert await told(Until(Replay.open(recording()), Live(), 0), main("a")) == (b"live", "live")


@pytest.mark.parametrize("count", [-1, 4])
def test_more_than_was_recorded_cannot_be_asked_for(count: int) -> None:
    with pytest.raises(InputError, match="from 0 to 3"):
        Until(Replay.open(recording()), Live(), count)


def test_a_recording_without_tools_has_its_longest_conversation_as_the_main_one() -> None:
    out = traffic.Memory()
    out.add(traffic.chat("x"), conversation="short")
    out.add(traffic.chat("a"), conversation="long")
    out.add(traffic.chat("a", "b"), conversation="long")
    Until(Replay.open(out), Live(), 2)
    with pytest.raises(InputError, match="from 0 to 2"):
        Until(Replay.open(out), Live(), 3)
