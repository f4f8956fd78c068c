"""The way out: the connections, addresses, keys and limits that all trials of a job share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import lru_cache
from typing import Protocol
from urllib.request import getproxies, proxy_bypass

import aiohttp
from msgspec import Struct
from multidict import CIMultiDict
from yarl import URL

from bakeoff.gateway.body import IN_MEMORY
from bakeoff.gateway.keys import Key
from bakeoff.gateway.limit import Gate
from bakeoff.gateway.providers import Provider
from bakeoff.gateway.retries import Retry
from bakeoff.records.exchanges import Headers

CONNECT_SECONDS = 30.0
SILENT_SECONDS = 900.0
"""A provider that sends nothing for so long has failed."""

LONGEST_HEADER = 64 << 10
BODIES = frozenset({"POST", "PUT", "PATCH"})
"""Methods that have a body, if an empty one."""


class Outgoing(Protocol):
    """A body as it is sent: the agent's own, or one with spans replaced."""

    size: int

    def pieces(self) -> Iterator[bytes]: ...


class Route(Struct, frozen=True):
    """Where a provider's requests go, and the key that goes with them."""

    provider: Provider
    base_url: str
    key: Key | None = None


class Client:
    """The connections, routes and limits that all trials of a job share. ``find`` gives a provider's route, or raises InputError."""

    def __init__(self, find: Callable[[str], Route], *, retry: Retry | None = None) -> None:
        self.retry = retry or Retry()
        self._find = find
        self._routes: dict[str, Route] = {}
        self._gates: dict[str, Gate] = {}
        self._proxies: dict[str, str | None] = {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
            max_line_size=LONGEST_HEADER,
            max_field_size=LONGEST_HEADER,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session:
            await self._session.close()

    def route(self, name: str) -> Route:
        """Raises InputError."""
        if name not in self._routes:
            self._routes[name] = self._find(name)
        return self._routes[name]

    def gate(self, name: str) -> Gate:
        return self._gates.setdefault(name, Gate())

    async def send(self, method: str, url: str, headers: Headers, body: Outgoing) -> aiohttp.ClientResponse:
        """The head of one answer. Raises what aiohttp raises; none of that may be shown, for the URL may hold a key."""
        assert self._session is not None
        fields = CIMultiDict(headers)
        data: bytes | AsyncIterator[bytes] | None = None
        if body.size or method in BODIES:
            fields["Content-Length"] = str(body.size)
            data = b"".join(body.pieces()) if body.size <= IN_MEMORY else _paced(body.pieces())
        target = _target(url)
        return await self._session.request(
            method, target, headers=fields, data=data, allow_redirects=False, proxy=self._proxy(target)
        )

    def _proxy(self, target: URL) -> str | None:
        """The proxy that the user's environment has for an address."""
        host = target.host or ""
        if host not in self._proxies:
            self._proxies[host] = None if proxy_bypass(host) else getproxies().get(target.scheme)
        return self._proxies[host]


@lru_cache(maxsize=64)
def _target(url: str) -> URL:
    return URL(url, encoded=True)


async def _paced(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """A large body is read from its file piece by piece, and others get their turn in between."""
    for piece in pieces:
        yield piece
        await asyncio.sleep(0)
