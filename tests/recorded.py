"""Exchanges of a made-up agent, for the tests of exports."""

from __future__ import annotations

from bakeoff.gateway.exports.facts import Facts
from bakeoff.gateway.shapes.base import Ask, Call, Message, Tool, Turn
from bakeoff.records.exchanges import Blob, End, Exchange
from bakeoff.records.results import Usage

FACTS = Facts(
    run_id="run-1",
    dataset="made-up",
    task="sums",
    agent="walker",
    agent_version="1.2",
    model="small-1",
    provider="openai",
    outcome="passed",
    passed=True,
    reward=1.0,
    rewards={"reward": 1.0},
)

SHELL = Tool("shell", "Run a command.", {"type": "object", "properties": {"cmd": {"type": "string"}}})


def system(text: str) -> Message:
    return Message("system", text=text)


def user(text: str) -> Message:
    return Message("user", text=text)


def result(call_id: str, text: str) -> Message:
    return Message("tool", text=text, call_id=call_id)


def shell(call_id: str, command: str) -> Call:
    return Call(call_id, "shell", f'{{"cmd": "{command}"}}')


class Recording:
    """Records what an agent asks and is answered; each exchange takes a second."""

    def __init__(self) -> None:
        self.pairs: list[tuple[Exchange, Ask, Turn | None]] = []

    def ask(
        self,
        messages: list[Message],
        text: str = "",
        *calls: Call,
        tools: tuple[Tool, ...] = (SHELL,),
        end: End = "complete",
        reasoning: str = "",
    ) -> list[Message]:
        """Records an answer of ``text`` and ``calls``, and gives the conversation with it."""
        seq = len(self.pairs) + 1
        usage = Usage(requests=1, input_tokens=100 * seq, output_tokens=10, cached_tokens=5, cost_usd=0.5)
        exchange = Exchange(
            seq=seq,
            api="openai-chat",
            provider="openai",
            method="POST",
            path="/v1/chat/completions",
            started_at=f"2026-01-01T00:00:{seq:02}.000000Z",
            request=Blob(sha256="", size=0),
            status=200,
            response=Blob(sha256="", size=0),
            chunks=((200_000, 10), (500_000, 20)),
            end=end,
            model_requested="small-1",
            usage=usage,
        )
        ask = Ask(api="openai-chat", model="small-1", messages=tuple(messages), tools=tools)
        turn = Turn(
            text=text,
            calls=calls,
            reasoning=reasoning,
            stop="tool" if calls else "end",
            model="small-1",
            id=f"answer-{seq}",
            usage=usage,
        )
        self.pairs.append((exchange, ask, turn))
        return [*messages, Message("assistant", text=text, calls=calls)]

    def fail(self, messages: list[Message]) -> None:
        """Records a request without an answer."""
        self.ask(messages, end="error")
        exchange, ask, _ = self.pairs[-1]
        self.pairs[-1] = (exchange, ask, None)
