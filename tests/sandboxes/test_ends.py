"""Whatever is killed, and whenever: no process and no mount outlives the harness, and no folder or group the next sweep."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import leftovers
from bakeoff.errors import SandboxError
from bakeoff.home import home
from bakeoff.images.host import host_root
from bakeoff.records.job import AgentRequest, RunRequest
from bakeoff.records.journal import read_results
from bakeoff.records.outcomes import Outcome
from bakeoff.records.results import TrialResult
from bakeoff.sandboxes import live
from bakeoff.sandboxes.base import Size
from bakeoff.sandboxes.box import Box, BoxDoor
from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
from bakeoff.sandboxes.zygote import permitted
from bakeoff.tasks.model import Environment, Network, NetworkMode

KILLER = Path(__file__).with_name("killed.py")
KILLS = int(os.environ.get("BAKEOFF_KILLS", "24"))  # a multiple of 8 strikes every phase equally often
ENVIRONMENT = Environment(root="host", network=Network(mode=NetworkMode.NONE))
ENV = {"PATH": "/usr/bin:/bin"}
SIGKILL = signal.SIGKILL

Kill = Callable[[int], None]


@pytest.fixture
def mark() -> str:
    """A word that is in the command line of what a test leaves running."""
    return f"mark-{secrets.token_hex(6)}"


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch, mark: str) -> Iterator[None]:
    with leftovers.none_expected(mark, monkeypatch):
        yield


def nothing(found: dict[str, Any]) -> bool:
    return not any(found[name] for name in found if name.endswith("_left"))


@pytest.mark.timeout(60 + KILLS * 3)
def test_harnesses_killed_at_any_moment_leave_nothing(tmp_path: Path) -> None:
    """BAKEOFF_KILLS says how many; each phase has its share."""
    argv = [sys.executable, KILLER, "1", str(KILLS)]
    ran = subprocess.run(
        argv, capture_output=True, text=True, check=False, env={**os.environ, "BAKEOFF_HOME": str(tmp_path)}
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    found = json.loads(ran.stdout)
    assert found["kills"] >= KILLS
    assert min(found["by_phase"].values()) >= KILLS // 8
    assert found["sandboxes_reaped"] > KILLS // 2, "there was something to sweep"
    assert found["groups_found"] or not found["groups"]
    assert nothing(found), found


@pytest.mark.skipif(os.geteuid() != 0, reason="whoever runs this is an ordinary user already")
@pytest.mark.parametrize("ids", ["one", "many"])
def test_harnesses_of_an_ordinary_user_leave_nothing_either(
    ordinary_user: Any, ids: str, require: Callable[[str, bool, str], None]
) -> None:
    # Without new privileges newuidmap's setuid bit means nothing, and one id is all there is.
    prefix = ["setpriv", "--no-new-privs"] if ids == "one" else []
    ran = ordinary_user.run([*prefix, ordinary_user.python, KILLER, "2", "8"], timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
    found = json.loads(ran.stdout)
    require("subuids", ids == "one" or found["ids"] > 1, "this user has no subordinate ids")
    assert (found["kills"], found["ids"] > 1, nothing(found)) == (8, ids == "many", True), found


REAP = """
import asyncio
from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
async def main():
    backend = BubblewrapBackend()
    print(await backend.reap(""))
    await backend.close()
asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to leave what another user may not open")
def test_what_roots_harness_left_in_a_users_home_stops_nobody(ordinary_user: Any) -> None:
    folder = ordinary_user.home / "bakeoff" / "sandboxes"
    for above in (folder.parent, folder):
        above.mkdir(exist_ok=True)
        os.chown(above, ordinary_user.home.stat().st_uid, -1)
    left = folder / secrets.token_hex(6)
    (left / "job" / "run.1").mkdir(parents=True)
    (left / "lock").touch(0o600)
    try:
        ran = ordinary_user.run([ordinary_user.python, "-c", REAP])
        assert (ran.stdout, ran.stderr) == ("0\n", "")
        assert left.exists()
        assert live.reap("", folder).removed == 1, "root itself sweeps it"
    finally:
        shutil.rmtree(left, ignore_errors=True)


def test_what_is_left_is_seen(mark: str, tmp_path: Path) -> None:
    """The looks that all these tests rest on."""
    token = secrets.token_hex(6)
    child = subprocess.Popen(["sh", "-c", f"sleep 30; : {mark}"])
    found = permitted.find(token)
    try:
        assert child.pid in leftovers.children()
        assert len(leftovers.processes(mark)) == 1
        assert len(leftovers.groups([token])) == len(found.folders)
        assert leftovers.mounts(" /proc ")
    finally:
        found.close()
        child.kill()
        child.wait()


# Parts of a harness that are killed while it lives


def outer(backend: BubblewrapBackend) -> int:
    assert backend._zygote is not None
    return backend._zygote.process.pid


def below(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def zygote(backend: BubblewrapBackend) -> int:
    (pid,) = below(outer(backend))
    return pid


def bubblewraps(backend: BubblewrapBackend) -> list[int]:
    children = below(zygote(backend))
    return [pid for pid in children if Path(f"/proc/{pid}/comm").read_text() == "bwrap\n"]


PARTS: dict[str, Callable[[BubblewrapBackend], int]] = {
    "the zygote": zygote,
    "the process above the zygote": outer,
    "a sandbox's bubblewrap": lambda backend: bubblewraps(backend)[0],
    "a sandbox's first process": lambda backend: below(bubblewraps(backend)[0])[0],
}


async def start(box: Box, script: str) -> Any:
    return await box.start(["sh", "-c", script], env=ENV, cwd="/app")


@pytest.mark.parametrize("part", PARTS)
async def test_a_part_that_is_killed_is_named_and_the_next_sandbox_works(
    backend: BubblewrapBackend, part: str, mark: str
) -> None:
    async with asyncio.timeout(20), backend.open(ENVIRONMENT, host_root(), [], "j/r") as box:
        process = await start(box, f"setsid sh -c 'sleep 60; : {mark}' & sleep 60; : {mark}")
        os.kill(PARTS[part](backend), SIGKILL)
        try:
            ended = await process.wait()
            assert ended.signal == SIGKILL
        except SandboxError as error:
            assert "has ended" in str(error)
        with pytest.raises(SandboxError, match=r"has ended|cannot be entered"):
            while True:
                await (await start(box, "true")).wait()
    async with asyncio.timeout(20), backend.open(ENVIRONMENT, host_root(), [], "j/r") as box:
        assert (await (await start(box, "exit 3")).wait()).code == 3
    assert len(list((home() / "sandboxes").glob("*/j"))) == 1, "what the dead one had is gone already"


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("delay", [0, 0.002, 0.006])
async def test_whoever_waits_for_a_world_in_the_making_is_told(
    backend: BubblewrapBackend, part: str, delay: float
) -> None:
    async with asyncio.timeout(20), backend.open(ENVIRONMENT, host_root(), [], "j/r") as box:
        waiting = [asyncio.create_task(start(box, "sleep 60")) for _ in range(3)]
        terminal = box.start(["sleep", "60"], env=ENV, cwd="/", pty=Size(24, 80))
        doors = [asyncio.create_task(box.listen(0)) for _ in range(3)]
        waiting.append(asyncio.create_task(terminal))
        victim = PARTS[part](backend)
        await asyncio.sleep(delay)
        os.kill(victim, SIGKILL)
        for one in await asyncio.gather(*waiting, return_exceptions=True):
            if isinstance(one, BaseException):
                assert isinstance(one, SandboxError), one
                continue
            try:
                assert (await one.wait()).signal == SIGKILL
            except SandboxError:
                pass
        for door in await asyncio.gather(*doors, return_exceptions=True):
            assert isinstance(door, (SandboxError, BoxDoor)), door


class Trials:
    """Jobs of one trial, during which something is killed."""

    def __init__(self, tmp_path: Path, make_task: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
        self.place = tmp_path
        self.backends: list[BubblewrapBackend] = []
        make_task()
        made = self.backends

        class Kept(BubblewrapBackend):
            def __init__(self) -> None:
                super().__init__()
                made.append(self)

        from bakeoff import plugins

        found = plugins.find
        monkeypatch.setattr(
            plugins, "find", lambda kind, *rest, **more: Kept if kind == "backends" else found(kind, *rest, **more)
        )

    async def run(self, line: str, part: str, *, retries: int) -> TrialResult:
        from bakeoff.api import run

        agent = AgentRequest(name="agent", command=line)
        request = RunRequest(datasets=(str(self.place / "tasks"),), agents=(agent,), concurrency=1, retries=retries)
        job = asyncio.create_task(run(request, out=self.place / "jobs", name="job"))
        try:
            async with asyncio.timeout(20):
                while not any(path.read_bytes() for path in self.place.glob("jobs/job/trials/**/agent/stdout")):  # noqa: ASYNC110 - the trial's own
                    await asyncio.sleep(0.005)
            os.kill(PARTS[part](self.backends[0]), SIGKILL)
        finally:
            end = await job
        assert not end.failure
        (result,) = read_results(end.path)
        return result


@pytest.fixture
def trials(tmp_path: Path, make_task: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Trials:
    return Trials(tmp_path, make_task, monkeypatch)


@pytest.mark.parametrize("part", PARTS)
async def test_a_trial_whose_sandbox_is_killed_is_no_failure_of_the_agent(trials: Trials, part: str, mark: str) -> None:
    result = await trials.run(f"echo up; sleep 30; : {mark}", part, retries=0)
    assert (result.outcome, result.excluded, result.reward) == (Outcome.SANDBOX_ERROR, True, None)
    assert "has ended" in result.detail or "cannot be entered" in result.detail


@pytest.mark.parametrize("part", PARTS)
async def test_the_next_try_has_a_sandbox_that_works(trials: Trials, part: str, mark: str) -> None:
    line = f"echo up; sleep 0.4; echo done > /app/answer.txt; : {mark}"
    result = await trials.run(line, part, retries=1)
    assert (result.outcome, result.tries) == (Outcome.PASSED, 2), result.detail


# Harnesses that are asked to stop


@pytest.mark.parametrize("signals", [(signal.SIGTERM,), (signal.SIGINT,), (signal.SIGTERM, signal.SIGTERM)])
def test_a_stopped_run_leaves_nothing(
    tmp_path: Path, make_task: Callable[..., Path], mark: str, signals: tuple[int, ...]
) -> None:
    make_task()
    line = (
        f"(trap '' TERM INT HUP; setsid sh -c 'trap \"\" TERM INT HUP; while :; do sleep 1; : {mark}; done' &);"
        "mkdir -p d/e; chmod 000 d; echo up; sleep 60"
    )
    argv = [sys.executable, "-m", "bakeoff", "run", "-d", tmp_path / "tasks", "--agent-cmd", line, "-n", "1", "-q"]
    env = {**os.environ, "BAKEOFF_HOME": str(tmp_path / "home")}
    run = subprocess.Popen([*argv, "-o", tmp_path / "jobs", "--name", "job"], env=env, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 20
        while not any(path.read_bytes() for path in tmp_path.glob("jobs/job/trials/**/agent/stdout")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert leftovers.processes(mark)
        tokens = os.listdir(tmp_path / "home" / "sandboxes")
        for number in signals:
            run.send_signal(number)
            time.sleep(0.005)
        run.communicate(timeout=20)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 130
    deadline = time.monotonic() + 5
    while leftovers.processes(mark) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert leftovers.processes(mark) == []
    if len(signals) == 1:
        assert os.listdir(tmp_path / "home" / "sandboxes") == []
        assert leftovers.groups(tokens) == []
