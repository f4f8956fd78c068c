"""Whole commands on real tasks: what they print where, and what they exit with."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from calling import Call

MakeTask = Callable[..., Path]
SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "reference" / "schemas"


def test_an_oracle_passes_nothing_fails_and_a_gate_is_asked_for(call: Call, make_task: MakeTask) -> None:
    task = make_task()
    oracle = call("run", "-t", task, "-a", "oracle", "--name", "good")
    assert oracle.code == 0, oracle.err
    assert "100.0% passed (1 of 1 scored)" in oracle.out
    assert "pass     hello" in oracle.err
    nothing = call("run", "-t", task, "-a", "nop", "--name", "bad")
    assert nothing.code == 0
    assert "0.0% passed (0 of 1 scored)" in nothing.out
    assert "fail     hello" in nothing.err
    gated = call("run", "-t", task, "-a", "nop", "--fail-under", "0.5", "-q")
    assert gated.code == 4
    assert gated.err == "fail-under: does not hold: 0 of 1 (0) is below 0.5\n"
    compared = call("compare", "good", "bad")
    assert compared.code == 0
    assert "Regressed (1): hello" in compared.out
    assert call("run", "-t", task, "-a", "oracle", "--name", "good").code == 2


def test_json_is_one_document_of_the_reports_schema_and_nothing_else(call: Call, make_task: MakeTask) -> None:
    said = call("run", "-t", make_task(), "-a", "oracle", "--name", "good", "--json")
    facts = json.loads(said.out)
    jsonschema.validate(facts, json.loads((SCHEMAS / "report.json").read_text()))
    assert (facts["complete"], facts["scored"], facts["passed"], facts["pass_rate"]) == (True, 1, 1, 1.0)
    assert json.loads(call("report", "good", "--format", "json").out)["passed"] == 1
    compared = json.loads(call("compare", "good", "good", "--format", "json").out)
    jsonschema.validate(compared, json.loads((SCHEMAS / "compare.json").read_text()))
    assert compared["unchanged"] == ["hello"]


def test_every_written_record_fits_its_schema(call: Call, make_task: MakeTask) -> None:
    assert call("run", "-t", make_task(), "-a", "oracle", "-a", "nop", "--name", "job").code == 0
    job = Path("jobs/job")
    fits(json.loads((job / "job.json").read_text()), "job")
    for line in (job / "results.jsonl").read_text().splitlines():
        fits(json.loads(line), "results-line")
    trials = [path.parent for path in job.glob("trials/*/*/run.json")]
    assert len(trials) == 2
    for trial in trials:
        fits(json.loads((trial / "run.json").read_text()), "run")
        fits(json.loads((trial / "score.json").read_text()), "score")
        fits(json.loads((trial / "changes.json").read_text()), "changes")
        fits(json.loads((trial / "task_packet" / "manifest.json").read_text()), "packet-manifest")
        fits(json.loads((trial / "task_packet" / "task.json").read_text()), "packet-task")
        for line in (trial / "trace.jsonl").read_text().splitlines():
            fits(json.loads(line), "trace-event")


def fits(document: Any, schema: str) -> None:
    jsonschema.validate(document, json.loads((SCHEMAS / f"{schema}.json").read_text()))


def test_a_job_comes_in_every_format(call: Call, make_task: MakeTask) -> None:
    call("run", "-t", make_task(), "-a", "oracle", "--name", "job")
    assert call("report", "job").out.startswith("job: 100.0% passed")
    assert call("report", "jobs/job", "--format", "md").out.startswith("## job: 100.0% passed")
    (row,) = csv.DictReader(io.StringIO(call("report", "job", "--format", "csv").out))
    assert (row["task"], row["agent"], row["outcome"], row["passed"]) == ("hello", "oracle", "passed", "true")
    for form, begin in (("md", "## job against job"), ("csv", "base,candidate,task"), ("table", "job against job")):
        assert call("compare", "job", "job", "--format", form).out.startswith(begin)


def test_a_regression_fails_the_step_that_asks(call: Call, make_task: MakeTask, tmp_path: Path) -> None:
    for number in range(8):
        make_task(f"task-{number}")
    tasks = tmp_path / "tasks"
    assert call("run", "-d", tasks, "-a", "oracle", "-a", "nop", "--name", "both", "-q").code == 0
    worse = call("compare", "both:oracle", "both:nop", "--fail-on-regression")
    assert worse.code == 4
    assert "does not hold: both:nop is worse than both:oracle" in worse.err
    assert call("compare", "both:nop", "both:oracle", "--fail-on-regression").code == 0
    assert call("compare", "both", "both:oracle").code == 2
    assert call("compare", "both:nop", "both:oracel").code == 2


def test_show_says_how_a_trial_ended_and_where_its_files_are(call: Call, make_task: MakeTask) -> None:
    agent = "echo here; exit 3"
    call("run", "-t", make_task(), "--agent-cmd", agent, "--agent-name", "mine", "--name", "job")
    shown = call("show", "job:hello")
    assert shown.code == 0
    assert "outcome    agent_error (not passed)" in shown.out
    assert "agent/stdout 5 bytes" in shown.out
    folder = next(Path("jobs/job/trials/hello").iterdir())
    assert call("show", folder).out.splitlines()[:5] == shown.out.splitlines()[:5]
    (record,) = json.loads(call("show", "job:hello:1", "--json").out)
    assert record["outcome"] == "agent_error"
    assert Path(record["folder"]).is_dir()
    assert "did you mean 'hello'" in call("show", "job:helo").err
    assert "no such attempt" in call("show", "job:hello:2").err


def test_resume_runs_what_is_missing_and_changes_nothing_else(call: Call, make_task: MakeTask, tmp_path: Path) -> None:
    for number in range(3):
        make_task(f"task-{number}")
    call("run", "-d", tmp_path / "tasks", "-a", "oracle", "--name", "job", "-n", "1")
    results = Path("jobs/job/results.jsonl")
    lines = results.read_text().splitlines(keepends=True)
    results.write_text("".join(lines[:2]) + lines[2][:40])
    assert "Not finished: 2 of 3" in call("report", "job").out
    resumed = call("resume", "job")
    assert resumed.code == 0
    assert "3 trials, 2 finished before" in resumed.err
    again = results.read_text().splitlines(keepends=True)
    assert again[:2] == lines[:2]
    assert len(again) == 3


def test_an_incomplete_job_exits_with_3_before_any_gate(call: Call, make_task: MakeTask) -> None:
    silent = make_task(test="#!/bin/sh\nexit 0\n")
    said = call("run", "-t", silent, "-a", "nop", "--fail-under", "1")
    assert said.code == 3
    assert "fail-under: does not hold" in said.err
    assert "verifier_error" in said.out


def test_a_terminal_gets_a_live_line_and_no_plain_ones(make_task: MakeTask, tmp_path: Path) -> None:
    task = make_task()
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "bakeoff", "run", "-t", str(task), "-a", "oracle"]
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave, cwd=tmp_path, env=env) as process:
        os.close(slave)
        seen = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            if not piece:
                break
            seen += piece
        assert process.stdout is not None
        out = process.stdout.read()
    os.close(master)
    assert process.returncode == 0
    assert b"1 passed" in seen
    assert b"pass     hello" not in seen
    assert b"100.0% passed" in out


@pytest.mark.parametrize("where", ["sandbox", "host"])
def test_signals_ignored_where_bakeoff_was_called_mean_the_usual_to_the_agent(
    make_task: MakeTask, tmp_path: Path, where: str
) -> None:
    bakeoff = f"{sys.executable} -m bakeoff run -q --name job --agent-in {where} -t {make_task()}"
    agent = "--agent-cmd 'grep SigIgn /proc/self/status'"
    script = f"trap '' INT QUIT HUP USR1 TTOU; exec {bakeoff} {agent}"
    subprocess.run(["sh", "-c", script], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    (seen,) = tmp_path.glob("jobs/job/trials/*/*/agent/stdout")
    of_glibc = 1 << 31 | 1 << 32
    assert int(seen.read_text().split()[1], 16) & ~of_glibc == 0


def test_an_ordinary_user_runs_the_same_commands(ordinary_user) -> None:
    made = ordinary_user.bakeoff("new", "task", "count-words")
    assert made.returncode == 0, made.stderr
    ran = ordinary_user.bakeoff("run", "-t", "count-words", "-a", "oracle", "--name", "job")
    assert ran.returncode == 0, ran.stderr
    assert "100.0% passed (1 of 1 scored)" in ran.stdout
    assert ordinary_user.bakeoff("doctor").returncode == 0
