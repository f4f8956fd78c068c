"""A request and an answer of 100 MB each through a gateway of its own process; says what memory that took."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from gateway_world import Got, World, request

SIZE = 100 << 20
PIECE = b"x" * (1 << 18)


class Counts:
    """A recorder that counts."""

    def __init__(self) -> None:
        self.size = 0
        self.model = ""

    async def begin(self, request: object) -> Counts:
        return self

    async def head(self, *args: object, model_sent: str | None, **more: object) -> None:
        self.model = model_sent or ""

    async def chunk(self, data: bytes) -> None:
        self.size += len(data)

    async def end(self, *args: object, **more: object) -> None:
        pass


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def main() -> dict[str, object]:
    async with World() as world:
        world.keep_bodies = False
        counts = Counts()

        async def script(got: Got, writer: asyncio.StreamWriter) -> None:
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n".encode())
            for _ in range(SIZE // len(PIECE)):
                writer.write(PIECE)
                await writer.drain()

        world.script = script
        _, served = await world.served(world.session(models={"*": "new"}, recorder=counts))
        await world.ask(served, method="HEAD")
        before = peak()
        reader, writer = await world.connect(served)
        start, end = b'{"input":"', b'","model":"old"}'
        fill = SIZE - len(start) - len(end)
        writer.write(request(b"").replace(b"Content-Length: 0", f"Content-Length: {SIZE}".encode()) + start)
        while fill:
            part = PIECE[:fill]
            writer.write(part)
            await writer.drain()
            fill -= len(part)
        writer.write(end)
        await reader.readuntil(b"\r\n\r\n")
        answered = 0
        while answered < SIZE and (part := await reader.read(1 << 18)):
            answered += len(part)
        received = int(world.got[0].header("content-length") or 0)
        return {"received": received, "answered": answered, "model": counts.model, "grown_mb": peak() - before}


print(json.dumps(asyncio.run(main())))
