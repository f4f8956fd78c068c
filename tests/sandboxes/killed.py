"""Kills harnesses at random moments, two of them at once, and tells in JSON what is left. Run as ``killed.py SEED COUNT``.

A harness is a forked child that works with sandboxes in all ways there are. It says in shared memory what it is about to do,
so that kills strike every phase; the moment within the phase is chance. All that a harness leaves falls to this process
(PR_SET_CHILD_SUBREAPER), so that "it has no children" means that nothing lives.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import mmap
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bakeoff.files import tar
from bakeoff.home import home
from bakeoff.images.host import host_root
from bakeoff.sandboxes.base import tar_bytes
from bakeoff.sandboxes.box import Box
from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
from bakeoff.tasks.model import Environment, Network, NetworkMode
from leftovers import children, groups, mounts, processes

PHASES = ("starting", "opening", "world", "commands", "covers", "transfers", "snapshot", "destroying")
PR_SET_CHILD_SUBREAPER = 36
WITHIN = 0.015  # seconds from the beginning of a phase to the kill, at most
PATIENCE = 20.0  # seconds in which all that a harness started must be gone; the machine may be busy
REAP_EVERY = 10
TOGETHER = 0.3  # the part of the kills that strike the harness and what it started itself, as the end of a session does
ENVIRONMENT = Environment(root="host", network=Network(mode=NetworkMode.NONE))
ENV = {"PATH": "/usr/bin:/bin"}
# Left behind: a new session, a deaf one that forks twice, folders that nobody may enter.
MARK = 1_000_000 + os.getpid()
JOB = f"killed{MARK}"
SCRIPT = f"""
mkdir -p shut/inner; echo x > shut/inner/f; chmod 000 shut/inner shut
setsid sleep 7{MARK} &
(trap '' TERM HUP INT; setsid sh -c 'trap "" TERM HUP INT; sleep 7{MARK} & wait' &)
sleep 0.005
"""
FILES = tar.build([(tar.Member(name=b"d/%d" % number, size=20000), b"x" * 20000) for number in range(30)])


class Said:
    """How often a harness has come to each phase, in memory that it shares with this process."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, 4 * len(PHASES))

    def note(self, phase: str) -> None:
        at = 4 * PHASES.index(phase)
        self.memory[at : at + 4] = (self.count(phase) + 1).to_bytes(4, "little")

    def count(self, phase: str) -> int:
        at = 4 * PHASES.index(phase)
        return int.from_bytes(self.memory[at : at + 4], "little")

    def all(self) -> int:
        return sum(self.count(phase) for phase in PHASES)


async def work(backend: BubblewrapBackend, said: Said, number: int) -> None:
    while True:
        said.note("opening")
        async with backend.open(ENVIRONMENT, host_root(), [], f"{JOB}/run{number}") as box:
            said.note("world")
            process = await box.start(["sh", "-c", SCRIPT], env=ENV, cwd="/app")
            said.note("commands")
            await process.wait()
            await use(box, said)
            said.note("destroying")


async def use(box: Box, said: Said) -> None:
    said.note("covers")
    await box.cover(["/tests", "/logs/verifier"])
    await (await box.start(["sh", "-c", "echo 1 > /logs/verifier/f"], env=ENV, cwd="/", apart=True)).wait()
    await box.uncover()
    said.note("transfers")
    await box.put(tar_bytes(FILES), "/app/put")
    async for _ in box.get("/app/put", max_bytes=1 << 24):
        pass
    said.note("snapshot")
    await box.snapshot()
    await (await box.start(["true"], env=ENV, cwd="/")).wait()


async def harness(said: Said) -> None:
    backend = BubblewrapBackend()
    said.note("starting")
    await backend.check()
    await asyncio.gather(*(work(backend, said, number) for number in range(2)))


def fork_harness(said: Said) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(harness(said))
        finally:
            os._exit(1)  # it never comes to its end
    return pid


def wait_gone(but: set[int]) -> float:
    """Reap until nothing is left but these; the seconds that took."""
    begun = time.monotonic()
    while left := children() - but:
        for pid in left:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass
        if time.monotonic() - begun > PATIENCE:
            told = [Path(f"/proc/{pid}/stat").read_text() for pid in children() - but]
            raise SystemExit(f"still alive after {PATIENCE} s: {told}")
        time.sleep(0.001)
    return time.monotonic() - begun


def wait_for(said: Said, phase: str, count: int, pid: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while said.count(phase) < count:
        if time.monotonic() > deadline or os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            raise SystemExit(f"the harness did not come to {phase}")
        time.sleep(0.0005)


def wait_for_any(said: Said, pid: int) -> None:
    seen = said.all()
    deadline = time.monotonic() + PATIENCE
    while said.all() == seen:
        if time.monotonic() > deadline or os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            raise SystemExit("the other harness did not go on")
        time.sleep(0.001)


def kill(pid: int, together: bool) -> None:
    started = Path(f"/proc/{pid}/task/{pid}/children").read_text().split() if together else []
    os.kill(pid, signal.SIGKILL)
    for one in map(int, started):
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            pass


def kill_pair(chance: random.Random, phases: tuple[str, str]) -> list[float]:
    """Two harnesses, of which one dies and the other must not notice, until it dies too. How long the ends took."""
    both = [(said := Said(), fork_harness(said)) for _ in phases]
    took: list[float] = []
    for (said, pid), phase in zip(both, phases, strict=True):
        wait_for(said, phase, 1, pid)
        time.sleep(chance.uniform(0, 0.08 if phase == "starting" else WITHIN))
        kill(pid, chance.random() < TOGETHER)
        others = {other for _, other in both if other != pid} & children()
        took.append(wait_gone(others))
        if others:
            wait_for_any(*both[1])
    return took


async def reap() -> tuple[int, int, bool]:
    """As the next start of a harness does: how many sandboxes went, how many ids such have, whether they have groups."""
    backend = BubblewrapBackend()
    try:
        await backend.check()
        return await backend.reap(""), backend.ids, bool(backend.controllers)
    finally:
        await backend.close()


def main() -> None:
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    chance = random.Random(seed)
    order = [PHASES[number % len(PHASES)] for number in range(count + count % 2)]
    chance.shuffle(order)
    took: list[float] = []
    tokens: set[str] = set()
    reaped = with_groups = ids = limited = 0
    left: list[str] = []
    for number in range(0, len(order), 2):
        took += kill_pair(chance, (order[number], order[number + 1]))
        if number % REAP_EVERY == 0 or number == len(order) - 2:
            names = set(os.listdir(home() / "sandboxes"))
            tokens |= names
            with_groups += len(groups(names))
            removed, ids, limited = asyncio.run(reap())
            reaped += removed
            left += os.listdir(home() / "sandboxes")
    print(
        json.dumps(
            {
                "kills": len(took),
                "ids": ids,
                "by_phase": Counter(order),
                "slowest_end": max(took),
                "folders_found": len(tokens),
                "groups": limited,
                "groups_found": with_groups,
                "sandboxes_reaped": reaped,
                "folders_left": left,
                "groups_left": groups(tokens),
                "mounts_left": [*mounts(str(home())), *mounts(f"/{JOB}/")],
                "processes_left": processes(f"sleep 7{MARK}"),
            }
        )
    )


if __name__ == "__main__":
    main()
