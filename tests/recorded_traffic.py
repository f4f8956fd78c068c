"""Recordings in memory, requests of agents, and what a replay answers them: for tests of replays."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from bakeoff.gateway.replay.source import Replay
from bakeoff.gateway.traffic import Broken, Request
from bakeoff.records.exchanges import Api, Blob, Exchange, Headers

TRAFFIC = Path(__file__).parent / "gateway" / "replay" / "traffic"
"""Requests of real agents, each run twice at different places and times; long texts are shortened."""

PATHS: dict[str, str] = {
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "openai-embeddings": "/v1/embeddings",
    "anthropic-messages": "/v1/messages",
    "anthropic-count": "/v1/messages/count_tokens",
    "gemini": "/v1beta/models/gemini-x:generateContent",
    "models": "/v1/models",
    "other": "/v1/files",
}


class Bytes:
    """A ``traffic.Body``."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self.sha256 = sha256(data).hexdigest()

    def read(self) -> bytes:
        return self.data

    def pieces(self) -> Iterator[bytes]:
        yield self.data


class Memory:
    """A recording whose bodies are in memory."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self._bodies: dict[tuple[int, str], bytes] = {}

    def add(
        self,
        body: Any,
        answer: Any = "answer",
        *,
        api: Api = "openai-chat",
        conversation: str = "main",
        chunks: Sequence[bytes] | None = None,
        **fields: Any,
    ) -> Exchange:
        seq = len(self.exchanges) + 1
        request, response = as_bytes(body), b"".join(chunks) if chunks is not None else as_bytes(answer)
        ends = [(1000 * n, len(b"".join((chunks or [])[:n]))) for n in range(1, len(chunks or []) + 1)]
        base: dict[str, Any] = {
            "seq": seq,
            "conversation": conversation,
            "api": api,
            "method": "POST",
            "path": PATHS[api],
            "started_at": "2026-01-01T00:00:00Z",
            "request": Blob(sha256=sha256(request).hexdigest(), size=len(request)),
            "response": Blob(sha256=sha256(response).hexdigest(), size=len(response)),
            "status": 200,
            "response_headers": (("content-type", "application/json"),),
            "chunks": tuple(ends),
            "end": "complete",
        }
        exchange = Exchange(**(base | fields))
        self.exchanges.append(exchange)
        self._bodies |= {(seq, "request"): request, (seq, "response"): response}
        return exchange

    def body(self, exchange: Exchange, which: Literal["request", "response"]) -> bytes:
        return self._bodies[exchange.seq, which]


def as_bytes(body: Any) -> bytes:
    """Bytes and text as they are, anything else as JSON."""
    if isinstance(body, str):
        return body.encode()
    return body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()


def ask(body: Any, *, api: Api = "openai-chat", path: str = "", method: str = "POST", headers: Headers = ()) -> Request:
    data = Bytes(as_bytes(body))
    return Request(
        seq=1,
        api=api,
        provider="",
        method=method,
        path=path or PATHS[api],
        headers=headers,
        body=data,
    )


def chat(*texts: str, model: str = "m", **fields: Any) -> dict[str, Any]:
    """A chat request whose messages are by the user and the assistant in turn."""
    roles = ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]
    return {"model": model, "messages": messages, **fields}


async def told(replay: Replay, request: Request) -> bytes:
    """The body of the answer."""
    return b"".join([piece async for piece in (await replay.answer(request)).body])


async def pieces(replay: Replay, request: Request) -> tuple[list[bytes], bool]:
    """The chunks of the answer, and whether it broke off."""
    out: list[bytes] = []
    try:
        async for piece in (await replay.answer(request)).body:
            out.append(piece)
    except Broken:
        return out, True
    return out, False


def real(agent: str) -> Any:
    return json.loads((TRAFFIC / f"{agent}.json").read_text())
