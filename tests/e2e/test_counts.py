"""What a trial costs in things that can be counted, the same every time: processes, files, synced writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import walking
from bakeoff.api import run
from bakeoff.records.job import AgentRequest, RunRequest

SOLVE = "#!/bin/sh\n: > /app/done\n"
TEST = "#!/bin/sh\nif [ -e /app/done ]; then echo 1; else echo 0; fi > /logs/verifier/reward.txt\n"
FILES = {
    *("run.json", "score.json", "trace.jsonl", "changes.json"),
    *("agent/stdout", "agent/stderr", "verifier/stdout", "verifier/stderr", "verifier/reward.txt"),
    *(f"task_packet/{name}" for name in ("prompt.md", "task.json", "README.md", "manifest.json")),
}


def processes_of(tmp_path: Path, limit: int) -> int:
    """The number that the last process of a whole run got, in a process namespace of its own."""
    run_them = (
        f"{sys.executable} -m bakeoff run -d {tmp_path}/tasks -a oracle -n 1 -q --limit {limit} -o {tmp_path}/jobs"
    )
    line = f"{run_them} >&2; cat /proc/loadavg"
    argv = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", line]
    if os.geteuid() != 0:
        argv.insert(1, "--map-root-user")
    ended = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    return int(ended.stdout.split()[-1])


def test_a_trial_takes_six_processes(tmp_path, make_task) -> None:
    """bubblewrap, the sandbox's first process, what makes the agent's world, that world's first process, the solution, the tests.

    Neither the harness nor its zygote forks for anything else: no process ends the agent's, and none covers the folders.
    """
    for number in range(30):
        make_task(f"t{number:02}", solve=SOLVE, test=TEST)
    processes_of(tmp_path, 1)  # the machine's root is made once
    assert processes_of(tmp_path, 30) - processes_of(tmp_path, 10) == 20 * 6


async def test_a_trial_syncs_once_and_writes_thirteen_files(tmp_path, make_task, monkeypatch) -> None:
    for number in range(5):
        make_task(f"t{number}", solve=SOLVE, test=TEST)
    synced: list[int] = []
    for name in ("fsync", "fdatasync", "sync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, real=real: (synced.append(1), real(*args))[1])
    request = RunRequest(datasets=(str(tmp_path / "tasks"),), agents=(AgentRequest(name="oracle"),))
    end = await run(request, out=tmp_path / "jobs")
    assert len(synced) == 5
    for trial in (end.path / "trials").glob("*/*"):
        assert {str(path.relative_to(trial)) for path in trial.rglob("*") if path.is_file()} == FILES
    assert {path.name for path in end.path.iterdir()} == {"job.json", "results.jsonl", ".lock", "trials"}


async def test_a_model_adds_three_files_and_two_syncs_to_a_trial(tmp_path, make_task, monkeypatch) -> None:
    """What was said, where it comes from, and the trajectory. Of the recording its lines and its folder are synced."""
    make_task("t", test=TEST)
    synced: list[str] = []
    for name in ("fsync", "fdatasync", "sync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, real=real: (synced.append(_named(*args)), real(*args))[1])
    agent = AgentRequest(
        name="command", command='python3 "$BAKEOFF_AGENT_FILES/walker.py"', files=(str(walking.WALKER),)
    )
    model = walking.script(tmp_path / "script.toml", ": > /app/done")
    request = RunRequest(datasets=(str(tmp_path / "tasks"),), agents=(agent,), models=(model,))
    end = await run(request, out=tmp_path / "jobs")
    (trial,) = (end.path / "trials").glob("*/*")
    more = {str(path.relative_to(trial)) for path in trial.rglob("*") if path.is_file()} - FILES
    assert more == {"fixture/exchanges.jsonl.zst", "fixture/provenance.json", "trajectory.json"}
    assert sorted(synced) == ["exchanges.jsonl.zst", "fixture", "results.jsonl"]


def _named(descriptor: int = -1) -> str:
    return os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))


def test_nothing_statistical_is_loaded_while_trials_run(tmp_path, make_task) -> None:
    make_task(solve=SOLVE, test=TEST)
    script = (
        "import sys; from bakeoff.api import run_sync; from bakeoff.records.job import AgentRequest, RunRequest;"
        "run_sync(RunRequest(datasets=(sys.argv[1],), agents=(AgentRequest(name='oracle'),)), out=sys.argv[2]);"
        "print([name for name in ('scipy', 'numpy', 'rich', 'click') if name in sys.modules])"
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "tasks"), str(tmp_path / "jobs")]
    assert subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.strip() == "[]"


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["run", "--help"]])
def test_help_loads_no_sandbox_and_no_loop(argv) -> None:
    script = (
        "import sys; from bakeoff.cli.main import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print([name for name in ('asyncio', 'scipy', 'rich', 'bakeoff.sandboxes.bubblewrap') if name in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, *argv], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.splitlines()[-1] == "[]"
