"""Requests as the shapes of real agents, and a source asked as the gateway asks it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from bakeoff.gateway.scripted.source import Scripted
from bakeoff.gateway.shapes.all import parse_answer
from bakeoff.gateway.shapes.base import Turn
from bakeoff.gateway.traffic import Request
from bakeoff.records.exchanges import Api, Headers

PATHS: dict[str, str] = {"gemini": "/v1beta/models/demo:generateContent", "models": "/v1/models"}


class Memory:
    """A body in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self.sha256 = hashlib.sha256(data).hexdigest()

    def read(self) -> bytes:
        return self.data

    def pieces(self) -> Iterator[bytes]:
        yield self.data


class Got(Struct):
    """A whole answer."""

    status: int
    chunks: list[bytes]
    turn: Turn
    via: str

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def command(self) -> str:
        """What the only call's tool is to run."""
        (call,) = self.turn.calls
        arguments = json.loads(call.arguments)
        return str(arguments.get("command", arguments.get("cmd")))


def tool(name: str, *fields: str, required: tuple[str, ...] = ()) -> dict[str, Any]:
    """A tool of chat completions with fields that are strings."""
    schema = {
        "type": "object",
        "properties": {field: {"type": "string"} for field in fields},
        "required": list(required),
    }
    return {"type": "function", "function": {"name": name, "parameters": schema}}


BASH = tool("bash", "command")


def chat(*messages: dict[str, Any], tools: tuple[dict[str, Any], ...] = (BASH,), **more: Any) -> bytes:
    return json.dumps({"model": "demo", "messages": list(messages), "tools": list(tools), **more}).encode()


async def ask(source: Scripted, body: bytes, api: Api = "openai-chat", *, seq: int = 1, headers: Headers = ()) -> Got:
    path = PATHS.get(api, "/v1/x")
    method = "GET" if api == "models" else "POST"
    request = Request(
        seq=seq, api=api, provider="scripted", method=method, path=path, headers=headers, body=Memory(body)
    )
    answer = await source.answer(request)
    chunks = [chunk async for chunk in answer.body]
    stream = ("Content-Type", "text/event-stream; charset=utf-8") in answer.headers
    turn = parse_answer(api, b"".join(chunks), stream=stream)
    return Got(answer.status, chunks, turn, answer.via)


def user(text: str = "Do it") -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(*calls: str, text: str = "") -> dict[str, Any]:
    """An answer in the history, with a call of bash for each id."""
    function = {"name": "bash", "arguments": "{}"}
    return {
        "role": "assistant",
        "content": text,
        "tool_calls": [{"id": ident, "function": function} for ident in calls],
    }


def result(text: str, ident: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": ident, "content": text}


Make = Callable[..., Scripted]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A script loaded from a text; ``name`` tells TOML from Python."""

    def load(text: str, *, name: str = "script.toml", task: str = "demo") -> Scripted:
        file = tmp_path / name
        file.write_text(text)
        return Scripted.load(file, task=task)

    return load
