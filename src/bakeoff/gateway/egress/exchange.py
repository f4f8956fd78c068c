"""One plain HTTP request through the proxy, and its answer: bodies as they come, both ways at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from bakeoff.gateway.egress import messages
from bakeoff.gateway.egress.messages import Ended, Malformed, Request, Response
from bakeoff.gateway.egress.record import Tally
from bakeoff.gateway.egress.upstream import Upstream

_INTERIM = 16
"""Answers before the answer (100, 103) that are passed on at most."""


class BadAnswer(Exception):
    """What came back is not HTTP."""


class NoAnswer(Exception):
    """Nothing of an answer came, or nothing that is one. ``clean``: the connection was closed without a word."""

    def __init__(self, message: str, *, clean: bool = False) -> None:
        super().__init__(message)
        self.clean = clean


class Exchange:
    """``begun``: a part of the answer has been passed on, so that nothing else can be said."""

    def __init__(
        self,
        request: Request,
        path: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: Upstream,
        tally: Tally,
    ) -> None:
        self._request = request
        self._path = path
        self._reader = reader
        self._writer = writer
        self._upstream = upstream
        self._tally = tally
        self._touch: Callable[[], None] = lambda: None
        self.begun = False

    async def run(self, idle_sec: float) -> bool:
        """Whether both connections can be used for another request; False also for an answer that broke off.

        Raises NoAnswer, TimeoutError where nothing moves for ``idle_sec``, Malformed for a request's body that cannot be read.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(idle_sec) as clock:
                self._touch = lambda: clock.reschedule(loop.time() + idle_sec)
                return await self._both_ways()
        except (Ended, ConnectionError, BadAnswer, Malformed) as error:
            if self.begun:
                return False
            if isinstance(error, Malformed):
                raise
            if isinstance(error, BadAnswer):
                raise NoAnswer(f"did not answer in HTTP: {error}") from None
            clean = isinstance(error, ConnectionError) or error.clean
            raise NoAnswer("closed the connection before its answer was whole", clean=clean) from None

    async def _both_ways(self) -> bool:
        await self._send(self._head())
        if self._request.framing.empty:
            return await self._answer(None)
        loop = asyncio.get_running_loop()
        sending = loop.create_task(self._send_body())
        answering = loop.create_task(self._answer(sending))
        try:
            await asyncio.wait([sending, answering], return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                sending.result()  # an error of it ends both
            return await answering
        finally:
            sending.cancel()
            answering.cancel()
            await asyncio.gather(sending, answering, return_exceptions=True)

    def _head(self) -> bytes:
        request = self._request
        fields = [(name, value) for name, value in messages.end_to_end(request.fields) if name.lower() != b"host"]
        target = self._upstream.target
        authority = str(target).removesuffix(":80") if target.port == 80 else str(target)
        length = [messages.CHUNKED] if request.framing.chunked else messages.length_fields(request.fields)
        start = b" ".join((request.method, self._path, b"HTTP/1.1"))
        return messages.write_head(start, [(b"Host", authority.encode("ascii")), *fields, *length])

    async def _send(self, data: bytes) -> None:
        self._upstream.writer.write(data)
        self._tally.sent += len(data)
        self._touch()
        await self._upstream.writer.drain()

    async def _send_body(self) -> None:
        """The rest of the request. An upstream that takes no more may have answered already: that is no error here."""
        chunked = self._request.framing.chunked
        async with aclosing(messages.read_body(self._reader, self._request.framing)) as pieces:
            try:
                async for piece in pieces:
                    await self._send(messages.chunk(piece) if chunked else piece)
                if chunked:
                    await self._send(messages.LAST_CHUNK)
            except ConnectionError:
                return

    async def _answer(self, sending: asyncio.Task[None] | None) -> bool:
        response = await self._response()
        keep = self._request.keep and response.keep and (sending is None or sending.done())
        fields = messages.end_to_end(response.fields)
        chunked = response.framing.chunked and self._request.version == b"HTTP/1.1"
        if chunked:
            fields.append(messages.CHUNKED)
        elif not response.framing.chunked and response.status != 204:
            fields += messages.length_fields(response.fields)
        keep = keep and (chunked or not response.framing.chunked)
        fields.append((b"Connection", b"keep-alive" if keep else b"close"))
        await self._pass_on(messages.write_head(_status_line(response), fields))
        try:
            async with aclosing(messages.read_body(self._upstream.reader, response.framing)) as pieces:
                async for piece in pieces:
                    await self._pass_on(messages.chunk(piece) if chunked else piece)
        except Malformed as error:
            raise BadAnswer(str(error)) from error
        if chunked:
            await self._pass_on(messages.LAST_CHUNK)
        return keep

    async def _response(self) -> Response:
        """The head of the answer itself; those before it are passed on to whoever understands them."""
        try:
            for _ in range(_INTERIM):
                head = await messages.read_head(self._upstream.reader)
                response = messages.parse_response(head, self._request.method)
                if response.status == 101:
                    raise BadAnswer("it changes to another protocol, which nobody asked for")
                if response.status >= 200:
                    return response
                self._touch()
                if self._request.version == b"HTTP/1.1":
                    interim = messages.write_head(_status_line(response), messages.end_to_end(response.fields))
                    self._writer.write(interim)
                    await self._writer.drain()
        except Malformed as error:
            raise BadAnswer(str(error)) from error
        raise BadAnswer("only interim answers came")

    async def _pass_on(self, data: bytes) -> None:
        self.begun = True
        self._writer.write(data)
        self._tally.received += len(data)
        self._touch()
        await self._writer.drain()


def _status_line(response: Response) -> bytes:
    return b"HTTP/1.1 %d %b" % (response.status, response.phrase)
