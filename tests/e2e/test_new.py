"""Tasks as ``bakeoff new`` writes them, in real sandboxes: what must pass passes, and nothing else does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bakeoff.cli.main import main
from bakeoff.tasks.new import new_task
from bakeoff.tasks.new_table import KINDS, NewTask


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def results(job: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("jobs", job, "results.jsonl").read_text().splitlines()]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A new task of each kind, named after it."""
    for kind in KINDS:
        new_task(tmp_path / "tasks" / kind, NewTask(kind=kind))
    return tmp_path / "tasks"


def test_oracles_pass_and_doing_nothing_fails_every_time(dataset: Path) -> None:
    assert main(["run", "-q", "-d", str(dataset), "-a", "oracle", "-a", "nop", "-k", "2", "--name", "job"]) == 0
    outcomes = {(line["task"], line["agent"], line["attempt"]): line["outcome"] for line in results("job")}
    assert len(outcomes) == 12
    for (_, agent, _), outcome in outcomes.items():
        assert outcome == ("passed" if agent == "oracle" else "failed")


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_solutions_run_to_their_end_and_fail(dataset: Path, kind: str) -> None:
    for number, wrong in enumerate(sorted(path.name for path in (dataset / kind / "wrong").iterdir())):
        args = ["run", "-q", "-t", str(dataset / kind), "-a", "wrong", "--agent-option", f"solution={wrong}"]
        assert main([*args, "--name", f"{number}"]) == 0
        (line,) = results(str(number))
        assert (line["outcome"], line["passed"]) == ("failed", False), wrong


def test_they_hold_for_an_ordinary_user_too(ordinary_user) -> None:
    for kind in KINDS:
        made = ordinary_user.bakeoff("new", "task", f"new-tasks/{kind}", "--kind", kind)
        assert made.returncode == 0, made.stderr
    ran = ordinary_user.bakeoff("run", "-q", "-d", "new-tasks", "-a", "oracle", "-a", "nop", "--name", "new-tasks")
    assert ran.returncode == 0, ran.stderr
    lines = (ordinary_user.home / "jobs/new-tasks/results.jsonl").read_text().splitlines()
    outcomes = {(line["task"], line["agent"]): line["outcome"] for line in map(json.loads, lines)}
    assert len(outcomes) == 6
    for (_, agent), outcome in outcomes.items():
        assert outcome == ("passed" if agent == "oracle" else "failed")


KNOWS = """
import json, sys
given = sys.stdin.read()
for case in json.load(open("/tests/cases.json")):
    if case["input"] == given:
        print(case["output"]) if case["output"] else sys.exit(1)
"""
FORGES = """
import os, signal, time
judge = os.getppid()
if os.fork():
    print("4:15")
    os._exit(0)
os.setsid()
os.close(1)
try:
    open("/logs/verifier/reward.txt", "w").write("1")
except OSError:
    os.symlink("/app/one", "/logs/verifier/reward.json")
os.kill(judge, signal.SIGKILL)
"""
CHEATS = {
    "a link to the answer": ("file", "ln -s /tests/expected.txt counts.txt"),
    "a pipe": ("file", "mkfifo counts.txt"),
    "the example by heart": ("program", "echo 'print(\"4:15\")' >total.py"),
    "the answers of the judge": ("program", f"cat >total.py <<'END'{KNOWS}END"),
    "a reward of its own": ("program", f"echo 1 >one; cat >total.py <<'END'{FORGES}END"),
    "endless output": ("program", "echo 'while True: print(\"4:15\" * 9999)' >total.py"),
    "the first file by heart": (
        "service",
        'mkdir prices && printf \'{"name": "coffee", "cents": 890}\' >prices/coffee && '
        "(python3 -m http.server -b 127.0.0.1 8080 >/dev/null 2>&1 &) && sleep 0.5",
    ),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_ways_around_the_work_do_not_pass(dataset: Path, cheat: str) -> None:
    kind, agent = CHEATS[cheat]
    args = ["run", "-q", "-t", str(dataset / kind), "--agent-cmd", agent, "--verifier-timeout", "20", "--name", "job"]
    assert main(args) in (0, 3)
    (line,) = results("job")
    assert line["passed"] is not True, line
    assert line["outcome"] in ("failed", "verifier_error")
