"""A proxy on this machine's loopback, and origins that stand for hosts of the internet."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from bakeoff.gateway.egress import upstream
from bakeoff.gateway.egress.addresses import Address
from bakeoff.gateway.egress.connection import Limits
from bakeoff.gateway.egress.policy import policy_of
from bakeoff.gateway.egress.proxy import Proxy
from bakeoff.gateway.egress.record import Ledger
from bakeoff.gateway.egress.targets import Target
from bakeoff.records.egress import EgressEntry
from bakeoff.tasks.model import Network, NetworkMode

LOOPBACK = ipaddress.IPv4Address("127.0.0.1")
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class World:
    """Names with their addresses as a list for each lookup (the last one stays), and what was looked up and connected to.

    A connection to an address that the proxy allows goes to this machine's loopback, where the origins are.
    """

    def __init__(self) -> None:
        self.names: dict[str, list[list[str]]] = {}
        self.lookups: list[str] = []
        self.connected: list[str] = []

    async def resolve(self, name: str) -> list[str]:
        self.lookups.append(name)
        answers = self.names.get(name)
        if answers is None:
            raise OSError("no such name")
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    original = upstream._connect_to

    async def connect_to(target: Target, address: Address) -> upstream.Upstream:
        made.connected.append(str(address))
        return await original(target, LOOPBACK)

    monkeypatch.setattr(upstream, "_connect_to", connect_to)
    return made


class Client:
    """A connection to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> str:
        return (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)).decode()

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), 10)

    async def ask(self, data: bytes) -> str:
        """Everything that comes back until the proxy closes."""
        await self.send(data)
        return (await self.rest()).decode()


class Served:
    """A running proxy."""

    def __init__(self, proxy: Proxy, ledger: Ledger, port: int) -> None:
        self.proxy = proxy
        self.ledger = ledger
        self.port = port
        self._clients: list[Client] = []

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self._clients.append(client)
        return client

    async def ask(self, data: bytes) -> str:
        return await (await self.connect()).ask(data)

    async def get(self, url: str, *fields: str) -> str:
        lines = "".join(f"{field}\r\n" for field in (*fields, "Connection: close"))
        return await self.ask(f"GET {url} HTTP/1.1\r\n{lines}\r\n".encode())

    async def use(self, mode: NetworkMode, *hosts: str) -> None:
        network = Network(mode, hosts)
        await self.proxy.use(policy_of(network), "agent", "", network)

    @property
    def entries(self) -> tuple[EgressEntry, ...]:
        return self.ledger.record().entries

    def disconnect(self) -> None:
        for client in self._clients:
            client.writer.transport.abort()


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve(world: World) -> AsyncIterator[Serve]:
    """``await serve(*hosts, **limits)``: a proxy with this allowlist, or of the public network where none is given."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(*hosts: str, **limits: float) -> Served:
            sock = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            ledger = Ledger()
            proxy = Proxy(sock, ledger, resolve=world.resolve, limits=Limits(**limits))
            proxy.start()
            served = Served(proxy, ledger, sock.getsockname()[1])
            stack.push_async_callback(proxy.close)
            stack.callback(served.disconnect)
            await served.use(NetworkMode.ALLOWLIST if hosts else NetworkMode.PUBLIC, *hosts)
            return served

        yield make
    codes = [getattr(task.get_coro(), "cr_code", None) for task in asyncio.all_tasks()]
    assert [
        code for code in codes if code and "gateway/egress/" in code.co_filename and "tests" not in code.co_filename
    ] == []


Origin = Callable[[Handler], Awaitable[int]]


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """``await origin(handler)``: a server on the loopback, and its port."""
    async with contextlib.AsyncExitStack() as stack:
        tasks: set[asyncio.Task[None]] = set()

        async def make(handler: Handler) -> int:
            async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                task = asyncio.current_task()
                assert task is not None
                tasks.add(task)
                try:
                    await handler(reader, writer)
                except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                    pass
                finally:
                    writer.close()

            server = await asyncio.start_server(handle, "127.0.0.1", 0)
            stack.callback(server.close)
            return server.sockets[0].getsockname()[1]

        yield make
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
