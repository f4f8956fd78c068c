"""Stopping a run: asked once, asked twice, a full disk, a second harness. Through the command line, as users do it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

BAKEOFF = [sys.executable, "-m", "bakeoff"]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a run of the tasks below ``tmp_path``; one that a failing test leaves running is ended."""
    running: list[subprocess.Popen[str]] = []

    def start(line: str, *more: str) -> subprocess.Popen[str]:
        argv = [*BAKEOFF, "run", "-d", str(tmp_path / "tasks"), "--agent-cmd", line, "-n", "2"]
        argv += ["-o", str(tmp_path / "jobs"), "--name", "job", *more]
        pipe = subprocess.PIPE
        running.append(subprocess.Popen(argv, stdout=pipe, stderr=pipe, text=True, cwd=tmp_path))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()


def wait_for_lines(job: Path, count: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if (job / "results.jsonl").exists() and len((job / "results.jsonl").read_bytes().splitlines()) >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"no {count} results within 30 s")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_once_it_stops_cleanly_with_a_partial_report(tmp_path, make_task, started, number) -> None:
    for name in ("a", "b", "c"):
        make_task(name)
    first = 'case "$BAKEOFF_TASK_ID" in a) echo done > answer.txt;; *) sleep 60;; esac'
    run = started(first, "--json")
    wait_for_lines(tmp_path / "jobs" / "job", 1)
    begun = time.monotonic()
    run.send_signal(number)
    out, err = run.communicate(timeout=20)
    assert time.monotonic() - begun < 5
    assert run.returncode == 130, err
    report = json.loads(out)
    assert (report["planned"], report["scored"], report["passed"], report["complete"]) == (3, 1, 1, False)
    lines = (tmp_path / "jobs" / "job" / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["task"] for line in lines] == ["a"]
    assert "resume" in err


def test_asked_twice_it_stops_at_once(tmp_path, make_task, started) -> None:
    make_task("a")
    run = started("trap '' TERM; sleep 60")
    deadline = time.monotonic() + 20
    while not (tmp_path / "jobs" / "job" / "trials").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    run.send_signal(signal.SIGINT)
    time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=10)
    assert run.returncode == 130


def test_a_second_harness_in_the_same_job_is_refused(tmp_path, make_task, started) -> None:
    make_task("a")
    run = started("sleep 3; echo done > answer.txt")
    job = tmp_path / "jobs" / "job"
    deadline = time.monotonic() + 20
    while not (job / "trials").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    second = subprocess.run([*BAKEOFF, "resume", str(job)], capture_output=True, text=True, check=False, timeout=30)
    assert second.returncode == 2
    assert f"process {run.pid}" in second.stderr
    run.communicate(timeout=30)
    assert run.returncode == 0


def test_a_full_disk_stops_with_what_to_do_and_resume_finishes(tmp_path, make_task) -> None:
    for name in ("a", "b", "c", "d"):
        make_task(name)
    disk = tmp_path / "disk"
    disk.mkdir()
    line = "echo done > answer.txt; head -c 400000 /dev/urandom"
    script = f"""
mount -t tmpfs -o size=64m none {disk} || exit 77
head -c 65024k /dev/zero > {disk}/ballast
{sys.executable} -m bakeoff run -d {tmp_path}/tasks --agent-cmd '{line}' -n 1 -o {disk} --name job -q
echo "first $?"
rm {disk}/ballast
{sys.executable} -m bakeoff resume {disk}/job -q
echo "second $?"
wc -l < {disk}/job/results.jsonl
"""
    private = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    ended = subprocess.run([*private, "sh", "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode != 77, "no tmpfs could be mounted"
    lines = ended.stdout.split("\n")
    assert "first 1" in lines, ended.stderr
    assert "No space left on device" in ended.stderr
    assert "bakeoff resume" in ended.stderr
    assert "second 0" in lines, ended.stderr
    assert lines[-2].strip() == "4"


@pytest.mark.parametrize("gate", ["leak", "controls"])
def test_a_check_that_is_asked_to_stop_leaves_nothing(tmp_path, make_task, monkeypatch, gate) -> None:
    monkeypatch.setenv("BAKEOFF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    make_task("a", solve="#!/bin/sh\nsleep 60\n")
    folder = tmp_path / "tasks"
    argv = [*BAKEOFF, "check", "-d", str(folder), "--only", gate, "-q"]
    check = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        deadline = time.monotonic() + 20
        while not _runs_inside(check.pid, "sleep") and time.monotonic() < deadline:
            time.sleep(0.02)
        check.send_signal(signal.SIGTERM)
        out, err = check.communicate(timeout=20)
    finally:
        check.kill()
        check.wait()
    assert (check.returncode, out) == (130, ""), err
    assert "nothing was put on record" in err
    assert not list(folder.glob("dataset.*"))
    assert not list((tmp_path / "temporary").iterdir())
    assert not list((tmp_path / "home" / "checks").iterdir())
    assert not list((tmp_path / "home" / "sandboxes").iterdir())


def _runs_inside(pid: int, name: str) -> bool:
    """Whether a process of that name runs below the process ``pid``."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            if Path(f"/proc/{child}/comm").read_text().strip() == name or _runs_inside(int(child), name):
                return True
        except OSError:
            continue
    return False
