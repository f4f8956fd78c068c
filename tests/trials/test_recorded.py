"""What the record of a trial says of the sandbox it ran in."""

from __future__ import annotations

import os

from bakeoff.api import run
from bakeoff.records.job import AgentRequest, RunRequest
from bakeoff.records.journal import read_results
from bakeoff.records.outcomes import Flag


async def one(tmp_path, **more):
    request = RunRequest(datasets=(str(tmp_path / "tasks"),), agents=(AgentRequest(name="agent", **more),))
    (result,) = read_results((await run(request, out=tmp_path / "jobs")).path)
    return result


async def test_protections_that_the_task_lifts_are_named(tmp_path, make_task) -> None:
    make_task(bakeoff='widen = ["personality", "new-privileges"]')
    result = await one(
        tmp_path, command="grep NoNewPrivs /proc/self/status; setarch -R true && echo done > /app/answer.txt"
    )
    assert result.widened == ("personality", "new-privileges")
    assert Flag.PROTECTIONS_WIDENED in result.flags
    assert result.passed


async def test_without_that_the_same_work_cannot_be_done(tmp_path, make_task) -> None:
    make_task()
    result = await one(tmp_path, command="setarch -R true && echo done > /app/answer.txt")
    assert (result.widened, result.passed) == ((), False)


async def test_limits_and_what_was_used_are_told(tmp_path, make_task) -> None:
    make_task(extra="[environment]\nmemory_mb = 256\ncpus = 1\nstorage_mb = 64\n")
    burn = "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; echo done > /app/answer.txt"
    result = await one(tmp_path, command=burn)
    assert (result.limits.memory_mb, result.limits.cpus, result.limits.storage_mb) == (256, 1, 64)
    assert result.limits.processes == 4096
    assert result.resources.exceeded == ()
    if os.geteuid() == 0 and result.resources.cpu_sec is not None:
        assert result.resources.cpu_sec > 0.01
        assert 0 < (result.resources.memory_peak_mb or 0) < 256
