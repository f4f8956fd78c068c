"""The gateway as trials have it, alone in a process: ``python -m perf.gateway.serve FOLDER UPSTREAM_PORT``.

Prints its address. A line on its input asks for its CPU time and memory; ``end`` closes it and asks for what it recorded.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from pathlib import Path

from bakeoff.gateway.budgets import Account, Budget
from bakeoff.gateway.forward import Client, Route
from bakeoff.gateway.keys import Key
from bakeoff.gateway.prices import prices
from bakeoff.gateway.providers import Provider, providers
from bakeoff.gateway.recording import Recording
from bakeoff.gateway.secrets import Secrets
from bakeoff.gateway.server import Gateway
from bakeoff.gateway.session import Session
from bakeoff.gateway.upstream import Upstream
from bakeoff.gateway.waits import Waits

KEY = "sk-proj-" + "aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5zA7bC9dE1fG3"


def usage(pid: int | str = "self") -> dict[str, float]:
    """CPU milliseconds of a process so far, and the most megabytes that it has held since ``forget_peak``."""
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    if pid == "self":
        own = resource.getrusage(resource.RUSAGE_SELF)
        spent = own.ru_utime + own.ru_stime
    else:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        spent = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return {"cpu_ms": 1000 * spent, "peak_mb": peak / 1024}


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


async def _serve(folder: Path, port: int) -> None:
    base = f"http://127.0.0.1:{port}"
    key = Key(KEY, "perf")

    def find(name: str) -> Route:
        return Route(Provider(name=name, base_url=base), base, key)

    recording = Recording(folder, Secrets({"openai-key": KEY, "OTHER_TOKEN": "ghx_0123456789abcdefghijklmnop"}))
    async with Client(find) as client, Gateway(providers()) as gateway:
        waits = Waits()
        session = Session(
            Upstream(client, "perf", waits=waits),
            provider="openai",
            model="m",
            token="a-throw-away-token",
            recorder=recording,
            accounts=(Account(Budget(), "trial"), Account(Budget(), "job")),
            prices=prices(),
            waits=waits,
        )
        served = await gateway.serve_here(session)
        print(json.dumps({"base": served.base("openai")}), flush=True)
        while (line := await asyncio.to_thread(sys.stdin.readline)) and line != "end\n":
            print(json.dumps(usage()), flush=True)
            forget_peak()
        begun = time.perf_counter()
        await session.close()
        recorded = await recording.close()
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        told = {"exchanges": recorded.exchanges, "bytes": size, "closing_ms": 1000 * (time.perf_counter() - begun)}
        print(json.dumps(told), flush=True)
        await served.close()


if __name__ == "__main__":
    if os.environ.get("PERF_UVLOOP"):
        import uvloop  # pyright: ignore[reportMissingImports]

        uvloop.install()
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
