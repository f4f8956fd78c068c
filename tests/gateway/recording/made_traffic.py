"""Requests as tests make them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bakeoff.gateway.recording import Recorded, Recording
from bakeoff.gateway.secrets import Secrets
from bakeoff.gateway.traffic import Request
from bakeoff.records.exchanges import Api, End, Headers


class Held:
    """A body in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self.sha256 = hashlib.sha256(data).hexdigest()

    def read(self) -> bytes:
        return self.data

    def pieces(self) -> Iterator[bytes]:
        for start in range(0, self.size, 256 << 10):
            yield self.data[start : start + (256 << 10)]


def a_request(
    seq: int,
    body: bytes | dict[str, Any],
    *,
    api: Api = "anthropic-messages",
    path: str = "/v1/messages",
    headers: Headers = (("content-type", "application/json"),),
    method: str = "POST",
) -> Request:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request(
        seq=seq, api=api, provider="anthropic", method=method, path=path, headers=headers, body=Held(data), model="m"
    )


async def exchange(
    recording: Recording,
    request: Request,
    *chunks: bytes,
    headers: Headers = (("content-type", "text/event-stream"),),
    end: End = "complete",
    error: str = "",
) -> None:
    entry = await recording.begin(request)
    await entry.head(200, headers, via="live", model_sent="m", tries=1)
    for chunk in chunks:
        await entry.chunk(chunk)
    await entry.end(end, error=error)


async def recorded(folder: Path, *exchanges: tuple[Request, bytes], secrets: Secrets | None = None) -> Recorded:
    """A recording of whole exchanges, one after the other."""
    recording = Recording(folder, secrets or Secrets())
    for request, answer in exchanges:
        await exchange(recording, request, answer)
    return await recording.close()


def on_disk(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def turns(number: int, size: int = 115_000) -> list[dict[str, Any]]:
    """Bodies of a growing conversation: long instructions and tools, and two messages more each turn."""
    words = [hashlib.sha256(str(count).encode()).hexdigest()[:7] for count in range(size // 8)]
    fixed = " ".join(words)
    said: list[dict[str, Any]] = []
    out: list[dict[str, Any]] = []
    for turn in range(number):
        said.append({"role": "user", "content": [{"type": "text", "text": f"turn {turn} " + "x" * 400}]})
        marked = [*said[:-1], {**said[-1], "cache_control": {"type": "ephemeral"}}]
        out.append({"model": "m", "messages": marked, "system": fixed, "tools": [{"name": "Bash"}], "stream": True})
        said.append({"role": "assistant", "content": [{"type": "tool_use", "id": f"t{turn}", "input": {}}]})
    return out
