"""Clients of a model, each with a connection of its own, that cost next to nothing."""

from __future__ import annotations

import asyncio
import json
import re
import time
from urllib.parse import urlsplit

_STAMP = re.compile(rb"t=(\d+)")
_LENGTH = re.compile(rb"(?i)content-length: *(\d+)")
STREAM = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "say 50 words"}]}).encode()


class Client(asyncio.Protocol):
    """One connection. ``delays`` has the milliseconds from the provider's write to here, for each chunk that came."""

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        self.address = parts.hostname or "", parts.port or 80
        self.delays: list[float] = []
        self._head = f"POST {parts.path}/chat/completions HTTP/1.1\r\nHost: model\r\nContent-Type: application/json\r\n"
        self._head += "Authorization: Bearer sk-throw-away\r\n"
        self._transport: asyncio.Transport | None = None
        self._done: asyncio.Future[None] | None = None
        self._left = -1
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done and not self._done.done():
            self._done.set_exception(ConnectionError("the gateway broke off"))

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter_ns()
        for stamp in _STAMP.findall(data):
            self.delays.append((now - int(stamp)) / 1e6)
        if self._left < 0:
            head, _, rest = data.partition(b"\r\n\r\n")
            if b" 200 " not in head[:20]:
                raise RuntimeError(data.decode(errors="replace"))
            found = _LENGTH.search(head)
            self._left = int(found[1]) if found else 0
            if not found:
                self._left = 1 << 62
            data = rest
        self._left -= len(data)
        if (self._left <= 0 or data.endswith(b"0\r\n\r\n")) and self._done and not self._done.done():
            self._left = -1
            self._done.set_result(None)

    async def ask(self, body: bytes, answer: str, fill: int = 0) -> None:
        """One request, whose body is followed by ``fill`` bytes more."""
        assert self._transport
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(
            f"{self._head}Content-Length: {len(body) + fill}\r\nx-answer: {answer}\r\n\r\n".encode() + body
        )
        piece = b"x" * (1 << 18)
        while fill > 0:
            await self._writable.wait()
            self._transport.write(piece[:fill])
            fill -= len(piece)
        await self._done

    def close(self) -> None:
        if self._transport:
            self._transport.close()


async def connect(base: str) -> Client:
    client = Client(base)
    await asyncio.get_running_loop().create_connection(lambda: client, *client.address)
    return client


async def streams(base: str, count: int, chunks: int, gap: float) -> list[float]:
    """The delay of every chunk, in milliseconds, of so many streams at once, begun one after the other within a gap."""
    clients = [await connect(base) for _ in range(count)]
    for client in clients[:1]:
        await client.ask(STREAM, "stream 1 0")
        client.delays.clear()

    async def one(number: int, client: Client) -> None:
        await asyncio.sleep(number * gap / count)
        await client.ask(STREAM, f"stream {chunks} {gap}")

    await asyncio.gather(*(one(*item) for item in enumerate(clients)))
    for client in clients:
        client.close()
    return [delay for client in clients for delay in client.delays]


async def small(base: str, count: int, at_once: int) -> float:
    """So many small requests over so many connections that stay; how many a second."""
    clients = [await connect(base) for _ in range(at_once)]

    async def one(number: int, client: Client) -> None:
        for turn in range(count // at_once):
            words = [{"role": "user", "content": f"{number} {turn} " + "what is to be done next? " * 20}]
            await client.ask(json.dumps({"model": "m", "messages": words}).encode(), "whole")

    begun = time.perf_counter()
    await asyncio.gather(*(one(*item) for item in enumerate(clients)))
    for client in clients:
        client.close()
    return count / (time.perf_counter() - begun)


async def once(base: str, body: bytes, answer: str, fill: int = 0) -> int:
    """One request; how many of its chunks came."""
    client = await connect(base)
    await client.ask(body, answer, fill)
    client.close()
    return len(client.delays)


async def turns(base: str, count: int, size: int) -> int:
    """A conversation that repeats all that was said, from ``size`` bytes on; how many bytes were sent."""
    client = await connect(base)
    said = [{"role": "user", "content": "".join(f"{number} of a long prompt. " for number in range(size // 24))}]
    sent = 0
    for turn in range(count):
        body = json.dumps({"model": "m", "messages": said}).encode()
        await client.ask(body, "whole")
        sent += len(body)
        said.append({"role": "assistant", "content": f"call {turn}"})
        said.append({"role": "user", "content": "".join(f"line {turn}/{number}\n" for number in range(100))})
    client.close()
    return sent
