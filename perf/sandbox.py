"""What a sandbox costs, beside bare bubblewrap on the same root in the same minute. ``python -m perf.sandbox``."""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bakeoff.images.host import host_root
from bakeoff.sandboxes.base import Sandbox
from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
from bakeoff.sandboxes.which import bubblewrap
from bakeoff.tasks.model import Environment, Network, NetworkMode

EXECS = 3
ENV = {"PATH": "/usr/bin:/bin"}
ENVIRONMENT = Environment(root="host", network=Network(mode=NetworkMode.NONE))


@contextmanager
def own_home() -> Generator[None]:
    """A new BAKEOFF_HOME for as long as this lasts."""
    kept = os.environ.get("BAKEOFF_HOME")
    with tempfile.TemporaryDirectory(prefix="bakeoff-perf-") as place:
        os.environ["BAKEOFF_HOME"] = place
        try:
            yield
        finally:
            os.environ.pop("BAKEOFF_HOME")
            if kept is not None:
                os.environ["BAKEOFF_HOME"] = kept


def bare_bubblewrap_cycle() -> float:
    """Seconds for a copy-on-write root, three times ``true`` in it by a bubblewrap of its own each, and its removal."""
    skeleton = host_root().paths[0]
    begun = time.perf_counter()
    place = Path(tempfile.mkdtemp(prefix="bare-"))
    (place / "u").mkdir()
    (place / "w").mkdir()
    command = [
        *(bubblewrap().path, "--overlay-src", skeleton, "--overlay", str(place / "u"), str(place / "w"), "/"),
        *("--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),
        *("--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL", "/usr/bin/true"),
    ]
    for _ in range(EXECS):
        subprocess.run(command, check=True)
    if (place / "w" / "work").exists():
        (place / "w" / "work").chmod(0o700)
    shutil.rmtree(place)
    return time.perf_counter() - begun


async def _true(box: Sandbox) -> None:
    process = await box.start(["/usr/bin/true"], env=ENV, cwd="/")
    if (await process.wait()).code != 0:
        raise SystemExit("true failed in the sandbox")


async def sandbox_cycle(backend: BubblewrapBackend) -> float:
    """Seconds for create, three execs and destroy."""
    begun = time.perf_counter()
    async with backend.open(ENVIRONMENT, host_root(), [], "perf/cycle") as box:
        for _ in range(EXECS):
            await _true(box)
    return time.perf_counter() - begun


async def exec_latency(box: Sandbox, repeat: int = 50) -> float:
    """Median seconds of one ``true`` in an open sandbox, from the request to its exit."""
    times: list[float] = []
    for _ in range(repeat):
        begun = time.perf_counter()
        await _true(box)
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


async def _measure(repeat: int) -> dict[str, float]:
    backend = BubblewrapBackend()
    bare: list[float] = []
    ours: list[float] = []
    try:
        await backend.check()
        for turn in range(repeat + 2):  # one after the other, so that a busy moment of the machine meets both
            pair = bare_bubblewrap_cycle(), await sandbox_cycle(backend)
            if turn >= 2:
                bare.append(pair[0])
                ours.append(pair[1])
        async with backend.open(ENVIRONMENT, host_root(), [], "perf/exec") as box:
            latency = await exec_latency(box)
    finally:
        await backend.close()
    return {
        "bare_ms": 1000 * statistics.median(bare),
        "cycle_ms": 1000 * statistics.median(ours),
        "ratio": statistics.median(ours) / statistics.median(bare),
        "exec_ms": 1000 * latency,
    }


def compare(repeat: int = 25) -> dict[str, float]:
    """``bare_ms`` and ``cycle_ms`` (medians), their ``ratio``, and ``exec_ms``; in a home of its own."""
    with own_home():
        return asyncio.run(_measure(repeat))


if __name__ == "__main__":
    for name, value in compare().items():
        print(f"{name:10} {value:.2f}")
