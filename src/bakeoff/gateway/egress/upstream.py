"""The way out: a name is resolved once, each address is judged, and the connection goes to an address that was."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from bakeoff.gateway.egress.addresses import Address, plain
from bakeoff.gateway.egress.messages import HEAD_LIMIT
from bakeoff.gateway.egress.policy import Policy, Reason, Ruling, asked, reached
from bakeoff.gateway.egress.targets import Target

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""From a name to its addresses, at least one. Raises OSError where it has none."""

_LOOKUPS = 4  # at the same time, of one trial
_LOOK_UP_WITHIN = 15.0  # seconds
_CONNECT_WITHIN = 10.0  # seconds, each address
_ADDRESSES = 8  # tried of one name
_NOBODYS = {4: "192.0.2.1", 6: "2001:db8::1"}  # for documentation: no machine has them


class Refused(Exception):
    """The policy does not let it through."""

    def __init__(self, ruling: Ruling) -> None:
        super().__init__(ruling.text)
        self.ruling = ruling


class Unreachable(Exception):
    """It would be let through, and cannot be reached; the text is for whoever asked."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason: Reason = reason


class Upstream:
    """An open connection to ``target``."""

    def __init__(self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.target = target
        self.reader = reader
        self.writer = writer

    @property
    def usable(self) -> bool:
        """Whether the other side has not closed it, as far as is known, nor said anything that nobody asked for."""
        return not (self.reader.at_eof() or self.writer.is_closing() or self.reader.exception())


class WayOut:
    """Connects for one trial. ``resolve`` is the machine's own resolver unless another is given."""

    def __init__(self, resolve: Resolve | None = None) -> None:
        self._resolve = resolve or resolve_here
        self._lookups = asyncio.Semaphore(_LOOKUPS)

    async def connect(self, policy: Policy, target: Target) -> Upstream:
        """Raises Refused and Unreachable."""
        if not (ruling := asked(policy, target)).allowed:
            raise Refused(ruling)
        addresses = [target.address] if target.address is not None else await self._look_up(target)
        rulings = [reached(policy, target, address, own=is_own(address)) for address in addresses]
        allowed = [address for address, ruling in zip(addresses, rulings, strict=True) if ruling.allowed]
        if not allowed:
            raise Refused(rulings[0])
        failures: list[str] = []
        for address in allowed[:_ADDRESSES]:
            try:
                return await _connect_to(target, address)
            except (OSError, TimeoutError) as error:
                failures.append(_why(error))
        reasons = "; ".join(dict.fromkeys(failures))
        raise Unreachable(
            "unreachable",
            f"{target} is allowed, and cannot be reached from the machine that bakeoff runs on: {reasons}. "
            "The proxy connects directly, through no other proxy.",
        )

    async def _look_up(self, target: Target) -> list[Address]:
        try:
            async with asyncio.timeout(_LOOK_UP_WITHIN):
                async with self._lookups:
                    found = await self._resolve(target.host)
            addresses = [plain(ipaddress.ip_address(text.partition("%")[0])) for text in found]
        except (OSError, TimeoutError, ValueError) as error:
            addresses, why = [], _why(error)
        else:
            why = "it has no address"
        if not addresses:
            raise Unreachable(
                "unresolved",
                f"{target} is allowed, but the machine that bakeoff runs on cannot resolve the name: {why}.",
            )
        return list(dict.fromkeys(addresses))


async def resolve_here(name: str) -> list[str]:
    """The addresses of a name as this machine has them, best first.

    In a thread of its own: a name server that never answers, which code in a sandbox may have set up, holds up nobody else.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def settle(found: list[str] | OSError) -> None:
        if answer.done():
            return
        if isinstance(found, OSError):
            answer.set_exception(found)
        else:
            answer.set_result(found)

    def ask() -> None:
        try:
            found = [str(info[4][0]) for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]
        except UnicodeError:
            found = OSError("not a name that can be resolved")
        except OSError as error:
            found = error
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, found)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    return await answer


async def _connect_to(target: Target, address: Address) -> Upstream:
    """Connect to exactly this address: nothing is looked up again."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        async with asyncio.timeout(_CONNECT_WITHIN):
            await asyncio.get_running_loop().sock_connect(sock, (str(address), target.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader, writer = await asyncio.open_connection(sock=sock, limit=HEAD_LIMIT)
    except BaseException:
        sock.close()
        raise
    return Upstream(target, reader, writer)


def is_own(address: Address) -> bool:
    """Whether the address belongs to this machine, asked of the kernel; nothing is sent."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    if not _binds(family, str(address)):
        return False
    # With ip_nonlocal_bind every address can be bound: then the address that the kernel would send from tells.
    return not _binds(family, _NOBODYS[address.version]) or _source(family, str(address)) == str(address)


def _binds(family: int, address: str) -> bool:
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _source(family: int, address: str) -> str:
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return error.strerror or "no such name"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
