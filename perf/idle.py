"""What many open sandboxes take while nothing happens in them. ``python -m perf.idle [N]``."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from bakeoff.images.host import host_root
from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
from perf.sandbox import ENV, ENVIRONMENT, own_home


def available_mb() -> float:
    """Memory of the machine that can be had without swapping: kernel structures show here, and in no process."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 1024


def processes_mb(pid: int) -> float:
    """What ``pid`` and all below it take, what they share being split among them."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
            total += int(1024 * processes_mb(int(child)))
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return (total + next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))) / 1024


async def _measure(count: int) -> dict[str, float]:
    backend = BubblewrapBackend()
    await backend.check()
    before, begun = available_mb(), time.perf_counter()
    try:
        async with AsyncExitStack() as stack:
            for number in range(count):
                box = await stack.enter_async_context(backend.open(ENVIRONMENT, host_root(), [], f"perf/idle{number}"))
                process = await box.start(["true"], env=ENV, cwd="/")  # the agent's world is there from then on
                await process.wait()
            opened = time.perf_counter() - begun
            return {
                "seconds": opened,
                "machine_mb": before - available_mb(),
                "processes_mb": processes_mb(os.getpid()),
            }
    finally:
        await backend.close()


def idle(count: int = 500) -> dict[str, float]:
    """``seconds`` to open ``count`` sandboxes and run one command in each, and MB that the machine and the processes take then."""
    with own_home():
        return asyncio.run(_measure(count))


if __name__ == "__main__":
    for name, value in idle(int(sys.argv[1]) if len(sys.argv) > 1 else 500).items():
        print(f"{name:14} {value:.1f}")
