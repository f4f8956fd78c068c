"""A provider that costs next to nothing: each request's header ``x-answer`` says what comes back. Prints its port, ends with its input."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

EVENT = b'data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"t=%d some words "}}]}\n\n'
LAST = (
    b'data: {"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":50}}\n\ndata: [DONE]\n\n'
)
WHOLE = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "some words " * 30}}
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 50, "total_tokens": 59},
    }
).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s\r\n"
FILLER = bytes(256 << 10)


class Provider(asyncio.Protocol):
    """One connection. ``x-answer``: ``whole``, ``stream CHUNKS SECONDS`` (between chunks), or ``bytes SIZE``."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._data = bytearray()
        self._left = 0
        self._plan: list[bytes] = []
        self._running: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        if self._running:
            self._running.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._left -= len(data)
        else:
            self._data += data
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            fields = dict(line.lower().split(b": ", 1) for line in bytes(self._data[:end]).split(b"\r\n")[1:])
            # A proxy that does not pass the header on is measured with streams alone.
            self._plan = fields.get(b"x-answer", b"stream 50 0.02").split()
            self._left = int(fields.get(b"content-length", 0)) - (len(self._data) - end - 4)
            self._data.clear()
        if self._left <= 0:
            self._left = 0
            self._answer()

    def _answer(self) -> None:
        assert self._transport
        kind, *numbers = self._plan
        if kind == b"whole":
            self._transport.write(HEAD % (b"application/json", b"Content-Length: %d\r\n" % len(WHOLE)) + WHOLE)
        elif kind == b"stream":
            self._running = asyncio.ensure_future(self._stream(int(numbers[0]), float(numbers[1])))
        else:
            self._running = asyncio.ensure_future(self._bytes(int(numbers[0])))

    async def _stream(self, chunks: int, seconds: float) -> None:
        assert self._transport
        self._transport.write(HEAD % (b"text/event-stream", b"Transfer-Encoding: chunked\r\n"))
        for number in range(chunks):
            if seconds or number % 500 == 499:
                await asyncio.sleep(seconds)
            await self._writable.wait()
            self._transport.write(_chunk(EVENT % time.perf_counter_ns()))
        self._transport.write(_chunk(LAST) + b"0\r\n\r\n")

    async def _bytes(self, size: int) -> None:
        assert self._transport
        self._transport.write(HEAD % (b"application/octet-stream", b"Content-Length: %d\r\n" % size))
        while size > 0:
            self._transport.write(FILLER[:size])
            size -= len(FILLER)
            await self._writable.wait()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", 0, backlog=1024)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(_serve())
