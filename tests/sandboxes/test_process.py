"""The backend without isolation: the common suite, and that it removes exactly what it made."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from conformance import Conformance, Opener, sh

from bakeoff import api
from bakeoff.errors import InputError, SandboxError
from bakeoff.home import home
from bakeoff.images.root import Root
from bakeoff.records.job import AgentRequest, RunRequest
from bakeoff.records.outcomes import Flag
from bakeoff.sandboxes import reserved
from bakeoff.sandboxes.base import Mount, Sandbox
from bakeoff.sandboxes.process import ProcessBackend
from bakeoff.tasks.model import Environment

MADE = ("/bakeoff-test", "/logs", "/tests", "/solution", "/task_packet")
ENVIRONMENT = Environment(workdir="/bakeoff-test/app")
pytestmark = [
    pytest.mark.skipif(not os.access("/", os.W_OK), reason="this user cannot make folders such as /logs"),
    pytest.mark.usefixtures("machine_alone"),
]


@pytest.fixture
async def backend() -> AsyncIterator[ProcessBackend]:
    made = ProcessBackend()
    yield made
    await made.close()


@pytest.fixture
def opener(backend: ProcessBackend) -> Opener:
    @asynccontextmanager
    async def opened(mounts: Sequence[Mount] = ()) -> AsyncIterator[Sandbox]:
        async with backend.open(ENVIRONMENT, Root(kind="none"), mounts, "job/run") as box:
            yield box

    return opened


@pytest.fixture
async def box(opener: Opener) -> AsyncIterator[Sandbox]:
    async with opener() as opened:
        yield opened


class TestProcess(Conformance):
    pass


class TestWhatItLeaves:
    async def test_it_removes_exactly_what_it_made(self, opener: Opener) -> None:
        before = set(os.listdir("/"))
        async with opener() as box:
            await sh(
                box,
                "mkdir -p /tests /bakeoff-test/app/x; echo > /solution; chmod 000 /bakeoff-test/app/x; setsid sleep 71 &",
            )
            assert {"tests", "logs", "solution"} <= set(os.listdir("/"))
        assert set(os.listdir("/")) == before
        assert reserved.leftover() is None

    async def test_a_path_that_exists_is_never_written_to(self, opener: Opener) -> None:
        os.mkdir("/tests")
        try:
            with pytest.raises(SandboxError, match="/tests exists"):
                async with opener():
                    pass
            assert os.listdir("/tests") == []
        finally:
            os.rmdir("/tests")

    async def test_one_runs_at_a_time(self, opener: Opener) -> None:
        async def one() -> None:
            async with opener() as box:
                assert (await sh(box, "ls"))[1] == b""
                await sh(box, "touch here")

        await asyncio.gather(*(one() for _ in range(4)))

    async def test_what_a_killed_harness_left_is_reaped(self, backend: ProcessBackend) -> None:
        script = (
            "import asyncio,sys\nfrom bakeoff.sandboxes.process import ProcessBackend\nfrom bakeoff.images.root import Root\n"
            "from bakeoff.tasks.model import Environment\n"
            "async def main():\n  b=ProcessBackend()\n"
            "  async with b.open(Environment(workdir='/bakeoff-test/app'),Root(kind='none'),[],'gone/run') as s:\n"
            "    await s.start(['sh','-c','setsid sleep 72 & sleep 73'],env={'PATH':'/usr/bin:/bin'},cwd='/')\n"
            "    print('up',flush=True); await asyncio.sleep(60)\nasyncio.run(main())"
        )
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)  # noqa: ASYNC220
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert Path("/logs").exists()
        for _ in range(100):
            if (lock := reserved.lock()) is not None:  # its commands are gone
                os.close(lock)
                break
            await asyncio.sleep(0.05)
        assert b"sleep\x0072" not in b"".join(_command_lines())
        assert await backend.reap("another") == 0
        assert await backend.reap("gone") == 1
        assert not any(map(os.path.lexists, MADE))
        assert await backend.reap("") == 0


async def test_an_ordinary_user_is_told_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="may not make folders"):
        await ProcessBackend().check()
    assert home()


def _command_lines() -> list[bytes]:
    found: list[bytes] = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                found.append(Path("/proc", name, "cmdline").read_bytes())
            except OSError:
                continue
    return found


async def test_a_whole_trial_runs_and_says_what_it_cannot_know(make_task: Callable[..., Path], tmp_path: Path) -> None:
    test = "#!/bin/sh\ncmp -s - /bakeoff-test/app/done <<E && r=1 || r=0\nyes\nE\necho $r >/logs/verifier/reward.txt\n"
    solve = "#!/bin/sh\necho yes >/bakeoff-test/app/done\n"
    task = make_task("plain", solve=solve, test=test, extra='[environment]\nworkdir = "/bakeoff-test/app"')
    request = RunRequest(tasks=(str(task),), agents=(AgentRequest("oracle"),), backend="process")
    async with asyncio.timeout(30):
        end = await api.run(request, out=tmp_path / "jobs")
    (result,) = api.results(end.path)
    assert result.passed is True, result.detail
    assert {Flag.NO_ISOLATION, Flag.CHANGES_INCOMPLETE} <= set(result.flags)
