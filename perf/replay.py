"""How many recorded exchanges a second are matched and answered in one process. ``python -m perf.replay``."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Literal

from msgspec import Struct

from bakeoff.gateway.replay.declared import volatile_for
from bakeoff.gateway.replay.source import Replay
from bakeoff.gateway.secrets import Secrets
from bakeoff.gateway.traffic import Request
from bakeoff.records.exchanges import Blob, Exchange

CHUNK = b'data: {"choices": [{"delta": {"content": "some words of an answer"}}]}\n\n'


class _Body(Struct):
    data: bytes
    size: int
    sha256: str

    def read(self) -> bytes:
        return self.data

    def pieces(self) -> Iterator[bytes]:
        yield self.data


class _Recording:
    """Conversations of 20 turns with a prompt that fills each request to about ``size`` bytes, answered in ``chunks`` chunks."""

    def __init__(self, count: int, size: int, chunks: int) -> None:
        self.exchanges: list[Exchange] = []
        self.bodies: list[bytes] = []
        answer = CHUNK * chunks
        borders = tuple((1000 * number, number * len(CHUNK)) for number in range(1, chunks + 1))
        self._answer = answer
        for number in range(count):
            data = self._request(number, size)
            self.bodies.append(data)
            self.exchanges.append(
                Exchange(
                    seq=number + 1,
                    conversation=str(number // 20),
                    api="openai-chat",
                    method="POST",
                    path="/v1/chat/completions",
                    started_at="",
                    request=Blob(sha256="", size=len(data)),
                    response=Blob(sha256="", size=len(answer)),
                    response_headers=(("content-type", "text/event-stream"),),
                    status=200,
                    chunks=borders,
                    end="complete",
                )
            )

    def body(self, exchange: Exchange, which: Literal["request", "response"]) -> bytes:
        return self.bodies[exchange.seq - 1] if which == "request" else self._answer

    def _request(self, number: int, size: int) -> bytes:
        turns = [
            {"role": role, "content": f"{role} {turn} of {number // 20}: " + "word " * 12}
            for turn in range(number % 20 % 8 + 1)
            for role in ("user", "assistant")
        ]
        turns[-1]["content"] += str(number)
        body: dict[str, Any] = {"model": "m", "stream": True, "messages": turns}
        rest = max(0, size - len(json.dumps(body)) - 120)
        tools = [{"type": "function", "function": {"name": "t", "description": "all about /app/work. " * (rest // 21)}}]
        return json.dumps(body | {"tools": tools}).encode()


def replays(count: int, size: int, chunks: int) -> dict[str, float]:
    """Exchanges a second once the fixture is open, how long opening took for each, and the growth of the process meanwhile."""
    recording = _Recording(count, size, chunks)
    requests = [
        Request(
            seq=number,
            api="openai-chat",
            provider="",
            method="POST",
            path="/v1/chat/completions",
            headers=(),
            body=_Body(data, len(data), sha256(data).hexdigest()),
        )
        for number, data in enumerate(bytes(bytearray(body)) for body in recording.bodies)
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    secrets = Secrets({"openai-key": "sk-proj-" + "aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5zA7bC9dE1fG3"})
    replay = Replay.open(
        recording,
        volatile=volatile_for("codex", "0.169.0"),
        roots={"workdir": ("/app/work", "/srv/work")},
        redact=secrets.redacted,
    )
    opened = time.perf_counter()
    asyncio.run(_ask(replay, requests))
    ended = time.perf_counter()
    if replay.unused():
        raise RuntimeError("a recorded request was not found again")
    return {
        "per_second": count / (ended - opened),
        "open_ms": 1000 * (opened - begun) / count,
        "grown_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
    }


async def _ask(replay: Replay, requests: list[Request]) -> None:
    for request in requests:
        answer = await replay.answer(request)
        async for _ in answer.body:
            pass


def main() -> int:
    for count, size, chunks, mark in ((8000, 2_000, 1, 8000), (1000, 115_000, 50, 500)):
        found = replays(count, size, chunks)
        verdict = "ok" if found["per_second"] >= mark else "SLOW"
        print(
            f"{size // 1000:4} KB, {chunks:2} chunks: {found['per_second']:8.0f} a second (at least {mark})  {verdict};"
            f" opening {found['open_ms']:.2f} ms each, {found['grown_mb']:.0f} MB more"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
