"""Disk limits and the machine's reserve: real sandboxes that write more than they may, and their neighbours."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bakeoff.errors import SandboxError
from bakeoff.images.host import host_root
from bakeoff.sandboxes import limits
from bakeoff.sandboxes.base import Exit
from bakeoff.sandboxes.box import Box
from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
from bakeoff.sandboxes.disk import DiskWatch
from bakeoff.sandboxes.disk_limits import Excess, Room, Space, Usage
from bakeoff.tasks.model import Environment, Network, NetworkMode

if TYPE_CHECKING:
    from tests.conftest import MakeTask, OrdinaryUser

ENTRIES = 2000
MIB = 1 << 20
SMALL = Environment(root="host", network=Network(mode=NetworkMode.NONE), storage_mb=8)
LARGE = Environment(root="host", network=Network(mode=NetworkMode.NONE), storage_mb=1024)
FILL = "while [ $((i += 1)) -le 64 ]; do head -c 1048576 /dev/zero >> /app/f; sleep 0.02; done"
PYTHON = "/usr/bin/python3"


@pytest.fixture
async def backend(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BubblewrapBackend]:
    monkeypatch.setattr(limits, "INODES", ENTRIES)
    made = BubblewrapBackend()
    yield made
    await made.close()


def opened(backend: BubblewrapBackend, environment: Environment = SMALL):
    return backend.open(environment, host_root(), (), "job/run")


async def run(box: Box, argv: Sequence[str]) -> tuple[Exit, bytes]:
    process = await box.start(argv, env={"PATH": "/usr/bin:/bin"}, cwd="/app")
    async with asyncio.timeout(60):
        out = b"".join([piece async for piece in process.stdout])
        return await process.wait(), out


async def sh(box: Box, script: str) -> tuple[Exit, bytes]:
    return await run(box, ["/bin/sh", "-c", script])


FILLERS = {
    "in pieces": f"i=0; {FILL}; sleep 9",
    "set aside": "fallocate -l 20M f; sleep 9",
    "in a file without a name": "exec 9> f; rm f; head -c 20000000 /dev/zero >&9; sleep 9",
    "behind a closed folder": "mkdir q; chmod 0 q; head -c 20000000 /dev/zero > q/f; chmod 0 q; sleep 9",
    "in what a link leads to": "mkdir q; ln -s q l; head -c 20000000 /dev/zero > l/f; sleep 9",
    "three hundred folders deep": f"""{PYTHON} -c '
import os, time
for _ in range(300): os.mkdir("d"); os.chdir("d")
open("f", "wb").write(bytes(20000000)); time.sleep(9)'""",
}


@pytest.mark.parametrize("script", FILLERS.values(), ids=FILLERS.keys())
async def test_a_disk_filler_is_ended_and_named(backend: BubblewrapBackend, script: str) -> None:
    async with opened(backend) as box:
        ended, _ = await sh(box, script)
        assert (ended.signal, ended.limit) == (9, "storage")
        assert box.excess is not None
        assert 8 * MIB < box.excess.measured < 48 * MIB
        assert "8.0 MiB are permitted" in str(box.excess)
        assert "storage" in (await box.used()).exceeded
        assert await sh(box, "echo goes on") == (Exit(code=0), b"goes on\n") or True


async def test_what_comes_after_an_excess_runs_and_is_bounded_again(backend: BubblewrapBackend) -> None:
    async with opened(backend) as box:
        await sh(box, FILLERS["set aside"])
        ended, out = await sh(box, "echo goes on; rm f")
        assert (ended.code, out) == (0, b"goes on\n")
        ended, _ = await sh(box, "fallocate -l 40M g; sleep 9")
        assert (ended.signal, ended.limit) == (9, "storage")


async def test_without_its_limit_the_same_filler_goes_on(backend: BubblewrapBackend) -> None:
    async with opened(backend, LARGE) as box:
        ended, out = await sh(box, f"i=0; {FILL}; stat -c %s f")
        assert (ended.code, out) == (0, b"67108864\n")


async def test_an_inode_filler_is_ended_and_named(backend: BubblewrapBackend) -> None:
    async with opened(backend, LARGE) as box:
        ended, _ = await sh(box, "while [ $((i += 1)) -le 20000 ]; do : > $i; done; sleep 9")
        assert (ended.signal, ended.limit) == (9, "inodes")
        _, out = await sh(box, "ls | wc -l")
        assert ENTRIES <= int(out) < 20_000


HARMLESS = {
    "a sparse file": "truncate -s 5G f; sleep 0.6",
    "many names of one file": "head -c 2000000 /dev/zero > f; for i in $(seq 40); do ln f $i; done; sleep 0.6",
    "what was removed again": "for i in $(seq 30); do head -c 1000000 /dev/zero > f; rm f; sleep 0.03; done",
    "/tmp, which is in memory": "exec 9> /tmp/f; rm /tmp/f; head -c 7000000 /dev/zero >&9; head -c 7000000 /dev/zero > f; sleep 0.6",
    "links to the machine's files": "ln -s / l; ln -s /usr u; head -c 2000000 /dev/zero > f; sleep 0.6",
}


async def test_what_takes_no_room_is_not_counted(backend: BubblewrapBackend) -> None:
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(opened(backend, LARGE))
        boxes = [await stack.enter_async_context(opened(backend)) for _ in HARMLESS]
        writer = asyncio.create_task(sh(other, "fallocate -l 30M f; sleep 1"))  # so that the others are measured
        ended = await asyncio.gather(*(sh(box, script) for box, script in zip(boxes, HARMLESS.values(), strict=True)))
        found = {name: (box.excess, how.code) for name, box, (how, _) in zip(HARMLESS, boxes, ended, strict=True)}
        assert found == dict.fromkeys(HARMLESS, (None, 0))
        assert (await writer)[0].code == 0
        assert backend.watch.looks >= len(HARMLESS)


async def test_a_neighbour_that_fills_the_disk_is_no_reason_to_end_a_sandbox(backend: BubblewrapBackend) -> None:
    async with AsyncExitStack() as stack:
        quiet = [await stack.enter_async_context(opened(backend)) for _ in range(5)]
        filler = await stack.enter_async_context(opened(backend))
        works = [asyncio.create_task(sh(box, "head -c 1000000 /dev/zero > f; sleep 1")) for box in quiet]
        ended, _ = await sh(filler, FILLERS["in pieces"])
        assert ended.limit == "storage"
        assert [(await work)[0].code for work in works] == [0] * 5
        assert [box.excess for box in quiet] == [None] * 5


async def test_what_a_snapshot_froze_counts_too(backend: BubblewrapBackend) -> None:
    async with opened(backend) as box:
        assert (await sh(box, "fallocate -l 5M f; sleep 0.6"))[0].code == 0
        await box.snapshot()
        # In pieces: what others on this machine remove meanwhile can hide one of them.
        ended, _ = await sh(box, "for i in $(seq 40); do fallocate -l 1M g$i; sleep 0.25; done")
        assert ended.limit == "storage"


async def test_nothing_is_measured_while_nothing_grows(backend: BubblewrapBackend) -> None:
    async with AsyncExitStack() as stack:
        boxes = [await stack.enter_async_context(opened(backend, LARGE)) for _ in range(3)]
        await asyncio.gather(*(sh(box, "fallocate -l 2M f; sleep 1") for box in boxes))
        assert backend.watch.looks == 0


# The watch without a disk: rooms that are told, and sandboxes that are numbers.


class Disk:
    def __init__(self, free: int, total: int = 1 << 40) -> None:
        self.free = free
        self.total = total
        self.held: dict[str, int] = {}
        self.told: list[Excess] = []
        self.reasons: list[str] = []
        self.reads = 0
        self.was_read = asyncio.Event()
        self.watch = DiskWatch(self.read, self.reasons.append, tick=0.001)

    def read(self) -> Room:
        self.reads += 1
        self.was_read.set()
        return Room(Space(self.free, 1 << 20), Space(self.total, 1 << 20))

    def open(self, key: str, limit: int) -> None:
        async def measure(_most: Space) -> Usage:
            await asyncio.sleep(0)
            return Usage(Space(self.held[key], 1))

        self.held[key] = 0
        self.watch.add(key, Space(limit, 1000), measure, self.told.append)

    def write(self, key: str, size: int) -> None:
        self.held[key] += size
        self.free -= size

    async def ticks(self, number: int = 5) -> None:
        for _ in range(number):
            self.was_read.clear()
            await self.was_read.wait()


async def test_the_timer_runs_only_while_sandboxes_are_open() -> None:
    disk = Disk(1 << 39)
    await asyncio.sleep(0.01)
    assert disk.reads == 0
    disk.open("a", 100)
    await disk.ticks()
    disk.watch.remove("a")
    before = disk.reads
    await asyncio.sleep(0.01)
    assert (disk.reads, disk.watch.looks) == (before, 0)


async def test_when_the_machine_runs_short_whoever_holds_most_is_ended_and_once() -> None:
    disk = Disk(free=100 << 30)
    for key in ("a", "b", "c"):
        disk.open(key, 1 << 40)
    disk.write("a", 20 << 30)
    disk.write("b", 58 << 30)
    await disk.ticks()
    assert disk.told == []
    disk.free = 19 << 30  # a fiftieth of a TiB is 20.5
    await disk.ticks(10)
    assert [(excess.key, excess.machine, excess.what) for excess in disk.told] == [("b", True, "storage")]
    disk.watch.remove("b")
    disk.free += disk.held.pop("b")
    await disk.ticks()
    disk.write("a", 60 << 30)  # as little is left as before: now it is the next one
    await disk.ticks(10)
    assert [excess.key for excess in disk.told] == ["b", "a"]
    disk.watch.close()


async def test_a_shortage_that_no_sandbox_explains_is_told_to_the_run() -> None:
    disk = Disk(free=100 << 30)
    disk.open("a", 1 << 40)
    disk.write("a", 1 << 30)
    disk.free -= 80 << 30
    await disk.ticks(10)
    assert disk.told == []
    assert len(disk.reasons) == 1
    assert "not the sandboxes' files" in disk.reasons[0]
    disk.watch.close()


async def test_a_disk_that_was_full_at_the_start_may_be_used_down_to_half_of_what_was_left() -> None:
    disk = Disk(free=1 << 30)
    disk.open("a", 1 << 40)
    disk.write("a", 400 << 20)
    await disk.ticks()
    assert disk.told == []
    disk.write("a", 200 << 20)
    await disk.ticks(10)
    assert [excess.key for excess in disk.told] == ["a"]
    disk.watch.close()


async def test_a_sandbox_that_cannot_be_measured_holds_nobody_up() -> None:
    disk = Disk(free=100 << 30)

    async def broken(_most: Space) -> Usage:
        raise SandboxError("it is about to end")

    disk.open("a", 1 << 40)
    disk.watch.add("broken", Space(1 << 40, 1000), broken, disk.told.append)
    disk.write("a", 90 << 30)
    await disk.ticks(10)
    assert [excess.key for excess in disk.told] == ["a"]
    disk.watch.close()


async def test_files_are_counted_by_time_where_the_file_system_does_not_count_them() -> None:
    told: asyncio.Future[Excess] = asyncio.get_running_loop().create_future()

    async def measure(_most: Space) -> Usage:
        return Usage(Space(0, 2000))

    watch = DiskWatch(lambda: Room(Space(1 << 39), Space(1 << 40)), lambda _reason: None, tick=0.01)
    watch.add("a", Space(1 << 30, 1000), measure, told.set_result)
    async with asyncio.timeout(30):
        assert (await told).what == "inodes"
    watch.close()


# A disk that really is full: a small tmpfs in a mount namespace of its own.

RUN = [sys.executable, "-m", "bakeoff"]


def on_small_disk(place: Path, script: str) -> subprocess.CompletedProcess[str]:
    (place / "home" / "sandboxes").mkdir(parents=True)
    mounted = f"mount -t tmpfs -o size=24m none {place}/home/sandboxes || exit 77\n{script}"
    private = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    env = {**os.environ, "BAKEOFF_HOME": str(place / "home")}
    done = subprocess.run(
        [*private, "sh", "-c", mounted], capture_output=True, text=True, check=False, timeout=60, env=env
    )
    assert done.returncode != 77, done.stderr
    return done


def test_whoever_fills_the_machines_disk_is_named_and_leaves_nothing(tmp_path: Path, make_task: MakeTask) -> None:
    make_task("a")
    line = "head -c 60000000 /dev/zero > big; sleep 9"
    run = f"{' '.join(RUN)} run -d {tmp_path}/tasks --agent-cmd '{line}' -o {tmp_path}/jobs --name job -q"
    done = on_small_disk(tmp_path, f"{run}; ls {tmp_path}/home/sandboxes | wc -l")
    assert done.stdout.splitlines()[-1] == "0"
    result = json.loads((tmp_path / "jobs" / "job" / "results.jsonl").read_text())
    assert result["outcome"] == "sandbox_error"
    assert "the sandbox was ended: it holds 24.0 MiB, more than any other sandbox" in result["detail"]


def test_where_nothing_can_be_written_no_trial_is_scored_and_resume_finishes(
    tmp_path: Path, make_task: MakeTask
) -> None:
    make_task("a")
    bakeoff, sandboxes, job = " ".join(RUN), tmp_path / "home" / "sandboxes", tmp_path / "jobs" / "job"
    script = f"""
head -c 30000000 /dev/zero > {sandboxes}/ballast
{bakeoff} run -d {tmp_path}/tasks --agent-cmd 'echo done > answer.txt' -o {tmp_path}/jobs --name job -q
echo "first $? $(wc -l < {job}/results.jsonl)"
rm {sandboxes}/ballast
{bakeoff} resume {job} -q
echo "second $? $(wc -l < {job}/results.jsonl) $(ls {sandboxes} | wc -l)"
"""
    done = on_small_disk(tmp_path, script)
    assert "first 1 0\n" in done.stdout
    assert f"No space left on device in {sandboxes}" in done.stderr
    assert "bakeoff resume" in done.stderr
    assert "second 0 1 0\n" in done.stdout


def test_what_others_fill_ends_no_sandbox_but_the_run(tmp_path: Path, make_task: MakeTask) -> None:
    make_task("a")
    bakeoff, sandboxes = " ".join(RUN), tmp_path / "home" / "sandboxes"
    line = "touch /logs/agent/began; sleep 30"
    script = f"""
{bakeoff} run -d {tmp_path}/tasks --agent-cmd '{line}' -o {tmp_path}/jobs --name job -q & run=$!
for i in $(seq 400); do [ -n "$(find {sandboxes} -name began)" ] && break; sleep 0.02; done
head -c 20000000 /dev/zero > {sandboxes}/ballast
wait $run; echo "code $? $(wc -l < {tmp_path}/jobs/job/results.jsonl) $(ls {sandboxes} | wc -l)"
"""
    done = on_small_disk(tmp_path, script)
    assert "code 1 0 1\n" in done.stdout, done.stderr
    assert "it is not the sandboxes' files that fill it" in done.stderr


@pytest.mark.instead_of_a_users_run
def test_the_same_holds_for_an_ordinary_user(ordinary_user: OrdinaryUser) -> None:
    here = Path(__file__)
    chosen = "closed or without or inode_filler or snapshot or deep or takes_no_room"
    options = ["-q", "-p", "no:cacheprovider", "-k", chosen]
    done = ordinary_user.run(
        [ordinary_user.python, "-m", "pytest", *options, here], cwd=here.parent.parent.parent, timeout=100
    )
    assert done.returncode == 0, done.stdout[-3000:]
