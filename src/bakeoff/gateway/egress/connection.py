"""One connection from inside a sandbox: requests one after the other, or a tunnel."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from msgspec import Struct

from bakeoff.gateway.egress import messages
from bakeoff.gateway.egress.exchange import Exchange, NoAnswer
from bakeoff.gateway.egress.messages import Ended, Malformed, Request
from bakeoff.gateway.egress.policy import Policy, Reason
from bakeoff.gateway.egress.record import Ledger, Tally
from bakeoff.gateway.egress.targets import BadTarget, Target, parse_authority
from bakeoff.gateway.egress.upstream import Refused, Unreachable, Upstream, WayOut
from bakeoff.records.egress import Decision, EgressPhase

_PIECE = 64 << 10
_LINGER = 1 << 20  # bytes
_PHRASES = {
    400: "Bad Request",
    403: "Forbidden",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    502: "Bad Gateway",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}
_REPEATABLE = frozenset({b"GET", b"HEAD", b"OPTIONS"})


class Limits(Struct, frozen=True):
    """Of one proxy. Times in seconds.

    ``connections`` at a time, others wait; ``head_sec`` for the lines before a body; ``waiting_sec`` between requests; ``idle_sec``
    with nothing moving in either direction; ``linger_sec`` for what still comes after the last answer, or still has to go.
    """

    connections: int = 128
    head_sec: float = 30.0
    waiting_sec: float = 60.0
    idle_sec: float = 600.0
    linger_sec: float = 5.0


class Reply(Exception):
    """The proxy's own answer, after which the connection ends."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Connection:
    """``policy`` and ``phase`` are those of its beginning: a change of the policy ends it."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        way_out: WayOut,
        ledger: Ledger,
        limits: Limits,
        policy: Policy,
        phase: EgressPhase,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._way_out = way_out
        self._ledger = ledger
        self._limits = limits
        self._policy = policy
        self._phase = phase
        self._upstream: Upstream | None = None

    async def run(self) -> None:
        """Serve until either side has had enough; nothing is left open, however it ends."""
        try:
            await self._serve()
            await self._flush()
        finally:
            self._drop_upstream()
            self._writer.transport.abort()

    async def _serve(self) -> None:
        try:
            while (request := await self._next()) is not None:
                if request.method == b"CONNECT":
                    await self._tunnel(request)
                    return
                if not await self._forward(request):
                    return
        except Malformed as error:
            self._ledger.malformed += 1
            await self._reply(Reply(error.status, f"The request cannot be read: {error}."))
        except Reply as reply:
            await self._reply(reply)

    async def _next(self) -> Request | None:
        """The next request; None where none comes."""
        try:
            async with asyncio.timeout(self._limits.waiting_sec):
                first = await self._reader.readexactly(1)
        except (asyncio.IncompleteReadError, TimeoutError):
            return None
        try:
            async with asyncio.timeout(self._limits.head_sec):
                head = await messages.read_head(self._reader, first)
        except TimeoutError:
            raise Reply(408, f"The request was not whole within {self._limits.head_sec:g} s.") from None
        except Ended:
            return None
        return messages.parse_request(head)

    # Tunnels

    async def _tunnel(self, request: Request) -> None:
        target = self._read_target(request.target.decode("latin-1"), None)
        upstream = await self._reach(request, target)
        tally = self._note(request, target, "allowed", "allowed")
        self._writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        loop = asyncio.get_running_loop()

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, out: bool) -> None:
            while piece := await source.read(_PIECE):
                sink.write(piece)
                await sink.drain()
                if out:
                    tally.sent += len(piece)
                else:
                    tally.received += len(piece)
                clock.reschedule(loop.time() + self._limits.idle_sec)
            sink.write_eof()  # the other direction goes on

        both = [
            loop.create_task(pump(self._reader, upstream.writer, out=True)),
            loop.create_task(pump(upstream.reader, self._writer, out=False)),
        ]
        try:
            async with asyncio.timeout(self._limits.idle_sec) as clock:
                await asyncio.gather(*both)
        except TimeoutError:
            return
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    # Plain HTTP

    async def _forward(self, request: Request) -> bool:
        """Pass one request on and its answer back; whether another one may follow."""
        target, path = self._resource(request)
        kept = self._upstream
        upstream = await self._reach(request, target)
        tally = self._note(request, target, "allowed", "allowed")
        exchange = Exchange(request, path, self._reader, self._writer, upstream, tally)
        try:
            try:
                keep = await exchange.run(self._limits.idle_sec)
            except NoAnswer as error:
                if upstream is not kept or not error.clean:
                    raise
                # What was kept open has been closed just now.
                self._drop_upstream()
                upstream = await self._reach(request, target)
                exchange = Exchange(request, path, self._reader, self._writer, upstream, tally)
                keep = await exchange.run(self._limits.idle_sec)
        except NoAnswer as error:
            raise Reply(502, f"{target} {error}.") from None
        except TimeoutError:
            if exchange.begun:
                return False
            raise Reply(504, f"{target} did not answer within {self._limits.idle_sec:g} s.") from None
        return keep

    def _resource(self, request: Request) -> tuple[Target, bytes]:
        """The target and the path of an absolute address."""
        scheme, mark, rest = request.target.decode("latin-1").partition("://")
        if not mark or not scheme.isalpha():
            raise Reply(400, "This is a proxy: it takes CONNECT host:port, and addresses that begin with http://.")
        if scheme.lower() != "http":
            raise Reply(400, f"The proxy speaks http:// itself; for {scheme.lower()}:// ask it for a tunnel (CONNECT).")
        end = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
        target = self._read_target(rest[:end], 80)
        path = rest[end:].encode("latin-1")
        return target, path if path.startswith(b"/") else b"/" + path

    # Both

    def _read_target(self, text: str, default_port: int | None) -> Target:
        try:
            return parse_authority(text, default_port)
        except BadTarget as error:
            self._ledger.malformed += 1
            raise Reply(400, f"{text[:300]!r} is nowhere to connect to: {error}.") from None

    async def _reach(self, request: Request, target: Target) -> Upstream:
        """A connection to the target: the one that is open, for what may be asked twice, or a new one."""
        repeatable = request.method in _REPEATABLE and request.framing.empty
        if self._upstream is not None and repeatable and self._upstream.target == target and self._upstream.usable:
            return self._upstream
        self._drop_upstream()
        try:
            self._upstream = await self._way_out.connect(self._policy, target)
        except Refused as error:
            self._note(request, target, "refused", error.ruling.reason)
            raise Reply(403, error.ruling.text) from None
        except Unreachable as error:
            self._note(request, target, "failed", error.reason)
            raise Reply(502, str(error)) from None
        return self._upstream

    def _note(self, request: Request, target: Target, decision: Decision, reason: Reason) -> Tally:
        return self._ledger.note(self._phase, request.method.decode("ascii"), target, decision, reason)

    async def _reply(self, reply: Reply) -> None:
        """The last answer. What the other side still sends is read, or the kernel would take the answer back with a reset."""
        body = f"bakeoff's network proxy: {reply}\n".encode()
        start = f"HTTP/1.1 {reply.status} {_PHRASES[reply.status]}".encode("ascii")
        fields = [
            (b"Content-Type", b"text/plain; charset=utf-8"),
            (b"Content-Length", b"%d" % len(body)),
            (b"Connection", b"close"),
        ]
        self._writer.write(messages.write_head(start, fields) + body)
        self._writer.write_eof()
        read = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.linger_sec):
                await self._writer.drain()
                while read < _LINGER and (piece := await self._reader.read(_PIECE)):
                    read += len(piece)

    async def _flush(self) -> None:
        """Give what is written time to go."""
        writers = [self._writer, *([self._upstream.writer] if self._upstream is not None else [])]
        for writer in writers:
            writer.close()
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(self._limits.linger_sec):
                for writer in writers:
                    await writer.wait_closed()

    def _drop_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.writer.transport.abort()
