"""What the gateway's tests share: a provider that speaks HTTP by hand, a recorder in memory, and a client that shows every byte."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from bakeoff.gateway.forward import Client, Route
from bakeoff.gateway.keys import Key
from bakeoff.gateway.providers import Provider
from bakeoff.gateway.retries import Retry
from bakeoff.gateway.server import Gateway, Served
from bakeoff.gateway.session import Session
from bakeoff.gateway.traffic import NOT_KNOWN, Answer, Request, Source
from bakeoff.gateway.upstream import Upstream
from bakeoff.gateway.waits import Waits
from bakeoff.records.exchanges import End, Headers, Via
from bakeoff.records.results import Usage

KEY = "sk-planted-A1b2C3d4E5f6G7h8"
TOKEN = "throw-away-token"
CHAT = "/openai/v1/chat/completions"


class Got:
    """One request as the provider got it."""

    def __init__(self, line: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.line = line
        self.headers = headers
        self.body = body

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


Script = Callable[[Got, asyncio.StreamWriter], Awaitable[None]]


async def read_message(reader: asyncio.StreamReader, keep: bool = True) -> tuple[str, list[tuple[str, str]], bytes]:
    """First line, headers and body of an HTTP message. With ``keep`` False the body is read and thrown away."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *rest = head[:-4].split("\r\n")
    headers = [(name, value.strip()) for name, _, value in (text.partition(":") for text in rest)]
    low = {name.lower(): value for name, value in headers}
    body = b""
    if "content-length" in low:
        left = int(low["content-length"])
        while left and (part := await reader.read(min(left, 1 << 18))):
            left -= len(part)
            body += part if keep else b""
    elif low.get("transfer-encoding") == "chunked":
        async for chunk in chunks(reader):
            body += chunk
    return line, headers, body


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The chunks of a body, each as it was framed. Raises IncompleteReadError where the end is missing."""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)


def whole(body: bytes, *headers: tuple[str, str], status: str = "200 OK") -> bytes:
    """An answer with a length."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status}\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body


def says(*answers: bytes) -> Script:
    """A provider that gives one answer after the other, the last for ever."""
    left = list(answers)

    async def script(got: Got, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    return script


class Kept:
    """One exchange as a recorder gets it."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.status: int | None = None
        self.headers: Headers = ()
        self.via: Via | None = None
        self.model_sent: str | None = None
        self.tries = 0
        self.chunks: list[bytes] = []
        self.ended: End | None = None
        self.error = ""
        self.usage = Usage()
        self.model_returned: str | None = None

    async def head(self, status: int, headers: Headers, *, via: Via, model_sent: str | None, tries: int) -> None:
        self.status, self.headers, self.via, self.model_sent, self.tries = status, headers, via, model_sent, tries

    async def chunk(self, data: bytes) -> None:
        self.chunks.append(data)

    async def end(
        self, end: End, *, error: str = "", usage: Usage = NOT_KNOWN, model_returned: str | None = None
    ) -> None:
        assert self.ended is None
        self.ended, self.error, self.usage, self.model_returned = end, error, usage, model_returned

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def everything(self) -> str:
        request = self.request
        return repr((vars(self), request.path, request.headers, request.body.read()))


class Memory:
    """A recorder that keeps everything."""

    def __init__(self) -> None:
        self.kept: list[Kept] = []

    async def begin(self, request: Request) -> Kept:
        self.kept.append(Kept(request))
        return self.kept[-1]


class Made:
    """A source that answers with what a function says."""

    def __init__(self, answer: Callable[[Request], Awaitable[Answer]]) -> None:
        self._answer = answer
        self.closed = False

    async def answer(self, request: Request) -> Answer:
        return await self._answer(request)

    async def close(self) -> None:
        self.closed = True


class World:
    """``script`` is what the provider does. ``quick`` retries without waiting long."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.script: Script = says(whole(b"{}"))
        self.keep_bodies = True
        self.memory = Memory()
        self.stack = AsyncExitStack()
        self.retry = Retry(tries=3, first=0.001, most=0.002, longest=5)
        self.connections = 0

    async def __aenter__(self) -> World:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=1 << 20)
        self.stack.callback(server.close)
        self.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self.client = await self.stack.enter_async_context(Client(self.route, retry=self.retry))
        self.gateway = await self.stack.enter_async_context(Gateway(["openai", "anthropic", "google", "local"]))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stack.aclose()

    def route(self, name: str) -> Route:
        forms: dict[str, Any] = {
            "openai": "bearer",
            "anthropic": "x-api-key",
            "google": "x-goog-api-key",
            "local": "bearer",
        }
        made = Provider(name=name, base_url=self.base, auth=(forms[name], "query"))
        return Route(made, self.base, None if name == "local" else Key(KEY, "the test"))

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                got = Got(*await read_message(reader, self.keep_bodies))
                self.got.append(got)
                await self.script(got, writer)
                await writer.drain()
                if writer.is_closing():
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def session(self, source: Source | None = None, **more: Any) -> Session:
        """A session whose source is the provider, unless another is given."""
        waits = Waits()
        upstream = {name: more.pop(name) for name in ("models", "options") if name in more}
        made = source or Upstream(self.client, "trial", waits=waits, **upstream)
        also = ("anthropic", "google", "local")
        fields: dict[str, Any] = {
            "provider": "openai",
            "also": also,
            "token": TOKEN,
            "recorder": self.memory,
            "waits": waits,
            **more,
        }
        session = Session(made, **fields)
        self.stack.push_async_callback(session.close)
        return session

    async def served(self, session: Session | None = None) -> tuple[Session, Served]:
        """A session on a socket such as a sandbox's door gives."""
        session = session or self.session()
        sock = socket.create_server(("127.0.0.1", 0))
        return session, await self.gateway.serve(session, sock)

    async def connect(self, served: Served) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = served.base("anthropic").removeprefix("http://").partition("/")[0].partition(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 24)
        self.stack.callback(writer.close)
        return reader, writer

    async def ask(
        self, served: Served, body: bytes = b"{}", *headers: tuple[str, str], path: str = CHAT, method: str = "POST"
    ) -> tuple[str, list[tuple[str, str]], bytes]:
        """One request on a connection of its own, and the whole answer."""
        reader, writer = await self.connect(served)
        writer.write(request(body, *headers, path=path, method=method))
        return await read_message(reader)


def request(body: bytes, *headers: tuple[str, str], path: str = CHAT, method: str = "POST") -> bytes:
    fields = [("Host", "gateway"), ("Authorization", f"Bearer {TOKEN}"), ("Content-Type", "application/json"), *headers]
    if not any(name == "Transfer-Encoding" for name, _ in fields):
        fields.append(("Content-Length", str(len(body))))
    return (
        f"{method} {path} HTTP/1.1\r\n".encode()
        + b"".join(f"{n}: {v}\r\n".encode() for n, v in fields)
        + b"\r\n"
        + body
    )


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that comes soon."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen in time")
