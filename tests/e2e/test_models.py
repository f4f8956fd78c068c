"""Agents with a scripted model: real ones on a real task, and what a job says and does of models before, after and between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bakeoff.agents.installed import catalog as installed
from bakeoff.records.journal import read_results
from bakeoff.records.outcomes import Outcome
from walking import AGENT, SOLVE, WALKER, exchanges, recording, script, the_result, told

STARTER = Path(__file__).resolve().parents[2] / "datasets" / "starter"


@pytest.mark.parametrize("name", ["codex", "claude-code"])
def test_a_real_agent_solves_a_task_with_no_network_and_its_replay_does_so_again(
    name, real_agent, call, tmp_path
) -> None:
    agent = real_agent(name)
    task = STARTER / "rank-slow-endpoints"
    solution = (task / "solution" / "rank.py").read_text()
    (tmp_path / "rank.toml").write_text(
        'final = "The table is written."\n'
        "[[turn]]\ntext = 'First a look at the log.'\nshell = 'ls /app && head -n 3 access.log'\nexpect = 'Which endpoints'\n"
        f"[[turn]]\nshell = {json.dumps(f'cat > rank.py <<END{chr(10)}{solution}{chr(10)}END')}\nexpect = 'HTTP/1.1'\n"
        "[[turn]]\nshell = 'python3 rank.py && rm rank.py && head -n 2 slow.csv'\n"
        "[[turn]]\nshell = 'wc -l < slow.csv'\nexpect = 'endpoint,requests,error_pct,p95_ms'\n"
    )
    said = call("run", "-t", task, "-a", agent, "-m", f"scripted:{tmp_path / 'rank.toml'}", "--name", "recorded")
    assert said.code == 0, said.err + said.out
    result = the_result(tmp_path, "recorded")
    assert (result.outcome, result.reward, result.network) == (Outcome.PASSED, 1.0, "none")
    assert result.config.agent_version
    recorded = exchanges(tmp_path / "jobs" / "recorded")
    assert len(recorded) >= 5
    assert {one.via for one in recorded} == {"scripted"}
    changed = json.loads(told(tmp_path, "recorded", "changes.json"))["changes"]
    assert "/app/slow.csv" in {one["path"] for one in changed}
    assert not any("/logs/agent/home" in one["path"] for one in changed)

    (tmp_path / "rank.toml").unlink()
    again = call("replay", "jobs/recorded", "--name", "again")
    assert again.code == 0, again.err + again.out
    assert f"{len(recorded)} exchanges replayed\n" in again.out
    assert the_result(tmp_path, "again").reward == 1.0
    report = json.loads(told(tmp_path, "again", "replay.json"))["report"]
    assert (report["served"], report["unused"], report["notes"]) == (len(recorded), [], [])


@pytest.fixture
def skilled(make_task) -> Path:
    """A task that brings skills."""
    task = make_task(
        extra='[environment]\nskills_dir = "/skills"\n',
        bakeoff='files = "environment/files"\nsetup = "environment/setup.sh"',
    )
    skill = task / "environment" / "files" / "pears"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\nname: pears\ndescription: How to count pears.\n---\nCount twice.\n")
    (task / "environment" / "setup.sh").write_text("mkdir -p /skills && mv /app/pears /skills/\n")
    return task


@pytest.mark.parametrize("skills", ["on", "off"])
def test_skills_are_there_or_neither_seen_nor_told_of(skilled, skills, call, tmp_path) -> None:
    model = script(tmp_path / "s.toml", "cat /skills/*/SKILL.md; echo dir=$BAKEOFF_SKILLS_DIR", SOLVE)
    said = call("run", "-t", skilled, *AGENT, "-m", model, "--skills", skills, "--name", "job")
    assert said.code == 0, said.err + said.out
    stdout = told(tmp_path, "job", "agent", "stdout")
    assert ("Count twice." in stdout) is (skills == "on")
    assert f"dir={'/skills' if skills == 'on' else ''}\n" in stdout
    result = the_result(tmp_path, "job")
    assert ("no-skills" in result.config.slug) is (skills == "off")
    assert result.config.skills == ("off" if skills == "off" else None)
    provenance = json.loads((recording(tmp_path / "jobs" / "job") / "provenance.json").read_text())
    assert provenance["toggles"] == {"skills": skills}
    assert call("replay", "jobs/job", "--name", "again").code == 0


def test_a_dry_run_says_what_would_be_asked_and_does_nothing(make_task, call, tmp_path, isolated_home) -> None:
    before = sorted(isolated_home.rglob("*")) if isolated_home.exists() else []
    model = script(tmp_path / "s.toml", SOLVE)
    options = (
        "--budget",
        "requests=5",
        "--budget",
        "job.tokens=900",
        "--model-option",
        'extra_body={"api_key": "sk-made-up-for-tests"}',
    )
    said = call("run", "-t", make_task(), "-a", "mini-swe-agent", "-m", model, *options, "--dry-run")
    assert said.code == 0, said.err
    assert "model scripted:s.toml" in said.out
    assert "budget    requests=5, job.tokens=900" in said.out
    assert "sk-made-up" not in said.out + said.err
    assert "extra_body" in said.out
    assert not (tmp_path / "jobs").exists()
    assert (sorted(isolated_home.rglob("*")) if isolated_home.exists() else []) == before


def test_a_dry_run_of_a_replay_names_the_fixture(make_task, call, tmp_path) -> None:
    task = make_task()
    assert call("run", "-t", task, *AGENT, "-m", script(tmp_path / "s.toml", SOLVE), "--name", "job").code == 0
    fixture = recording(tmp_path / "jobs" / "job")
    said = call("run", "-t", task, "--replay", "jobs/job", "--dry-run")
    assert said.code == 0, said.err
    assert str(fixture) in said.out
    assert "match normalised" in said.out


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[[turn]]\n", "says nothing"),
        ('[task."other"]\nfinal = "x"\n[[task."other".turn]]\ntext = "x"\n', "no script for this task"),
    ],
)
def test_a_bad_script_stops_a_job_before_anything_runs(make_task, call, tmp_path, text, wanted) -> None:
    (tmp_path / "s.toml").write_text(text)
    said = call("run", "-t", make_task(), *AGENT, "-m", f"scripted:{tmp_path / 's.toml'}", "--name", "job")
    assert said.code == 2
    assert wanted in said.err
    assert not (tmp_path / "jobs").exists()


def test_an_agent_that_needs_a_model_says_so_before_anything_runs(make_task, call, tmp_path) -> None:
    said = call("run", "-t", make_task(), "-a", "codex", "--name", "job")
    assert said.code == 2
    assert "codex needs a model" in said.err
    assert "-m" in said.err
    assert not (tmp_path / "jobs").exists()


def started(tmp_path: Path, *argv: str | Path) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "bakeoff", *map(str, argv)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(line, cwd=tmp_path, stdout=quiet, stderr=quiet)


def killed_after(process: subprocess.Popen[bytes], job: Path, count: int) -> None:
    """Kill a run of which ``count`` trials are done, and one has been asked something."""
    try:
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            lines = (job / "results.jsonl").read_bytes().count(b"\n") if (job / "results.jsonl").exists() else 0
            if lines >= count and len(list(job.glob("trials/*/*/fixture"))) > count:
                break
            time.sleep(0.02)
        else:
            raise AssertionError("nothing happened within 40 s")
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def test_a_job_that_was_killed_is_resumed_whether_scripted_or_replayed(make_task, call, tmp_path, monkeypatch) -> None:
    for name in ("a", "b"):
        make_task(name)
    model = script(tmp_path / "s.toml", "true", 'test "$BAKEOFF_TASK_ID" = a || sleep $(cat slow); ' + SOLVE)
    agent = (
        "--agent-cmd",
        'echo ${SLOW:-0} > slow; python3 "$BAKEOFF_AGENT_FILES/walker.py"',
        "--agent-files",
        str(WALKER),
    )
    run = ("run", "-d", tmp_path / "tasks", *agent, "-m", model, "-n", "1", "--env", "SLOW", "--name", "job", "-q")
    monkeypatch.setenv("SLOW", "30")
    killed_after(started(tmp_path, *run), tmp_path / "jobs" / "job", 1)
    monkeypatch.setenv("SLOW", "0")
    said = call("resume", "jobs/job")
    assert said.code == 0, said.err + said.out
    assert [result.reward for result in read_results(tmp_path / "jobs" / "job")] == [1.0, 1.0]

    monkeypatch.setenv("SLOW", "30")
    replay = ("replay", "jobs/job", "-n", "1", "--name", "again", "-q")
    killed_after(started(tmp_path, *replay), tmp_path / "jobs" / "again", 1)
    monkeypatch.setenv("SLOW", "0")
    said = call("resume", "jobs/again")
    assert said.code == 0, said.err + said.out
    again = list(read_results(tmp_path / "jobs" / "again"))
    assert [(result.outcome, result.reward) for result in again] == [(Outcome.PASSED, 1.0)] * 2
    for result in again:
        assert {one.via for one in exchanges(tmp_path / "jobs" / "again" / result.path / "fixture")} == {"replayed"}


def test_an_agent_of_ones_own_file_is_recorded_by_its_name_and_replayed(
    real_agent, make_task, call, tmp_path, monkeypatch
) -> None:
    real_agent("codex")
    (tmp_path / "codex.toml").write_bytes((Path(installed.__file__).parent / "data" / "codex.toml").read_bytes())
    model = script(tmp_path / "s.toml", SOLVE)
    said = call("run", "-t", make_task(), "-a", "codex.toml", "-m", model, "--name", "job")
    assert said.code == 0, said.err + said.out
    agent = json.loads((recording(tmp_path / "jobs" / "job") / "provenance.json").read_text())["agent"]
    assert (agent["name"], agent["definition"]) == ("codex", str(tmp_path / "codex.toml"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    again = call("replay", tmp_path / "jobs" / "job", "--name", "again")
    assert again.code == 0, again.err + again.out
