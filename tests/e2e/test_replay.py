"""Trials are answered from what was recorded of others: with no model and no key, exactly, or not at all."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from bakeoff.records.outcomes import Flag, Outcome
from walking import AGENT, SOLVE, edit_json, edit_lines, exchanges, recording, script, the_result, told, walker

LOOK = "cat /app/notes.txt"


@pytest.fixture
def task(make_task) -> Path:
    """A task whose agent reads a file of its environment and then does the work."""
    folder = make_task(bakeoff='files = "environment/files"', instruction="Read the notes, then write the word done.\n")
    (folder / "environment" / "files").mkdir(parents=True)
    (folder / "environment" / "files" / "notes.txt").write_text("Start with the pears.\n")
    return folder


@pytest.fixture
def recorded(task, call, tmp_path) -> Path:
    """The job of a trial that was solved with a scripted model, and recorded."""
    said = call("run", "-t", task, *AGENT, "-m", script(tmp_path / "solve.toml", LOOK, SOLVE), "--name", "recorded")
    assert said.code == 0, said.err + said.out
    assert the_result(tmp_path, "recorded").reward == 1.0
    return tmp_path / "jobs" / "recorded"


def test_a_replay_needs_no_model_and_uses_all_that_was_recorded(recorded, call, tmp_path) -> None:
    said = call("replay", recorded, "--name", "again")
    assert said.code == 0, said.err + said.out
    assert (
        "same    hello  command+scripted-solve.toml.1  recorded passed 1, now passed 1; 3 exchanges replayed\n"
        in said.out
    )
    report = json.loads(told(tmp_path, "again", "replay.json"))
    assert (report["modified"], report["report"]["served"], report["report"]["unused"]) == (False, 3, [])
    assert {one.via for one in exchanges(tmp_path / "jobs" / "again")} == {"replayed"}
    result = the_result(tmp_path, "again")
    assert (result.reward, result.passed, result.usage.requests, result.flags) == (1.0, True, 3, ())
    assert result.usage.cost_usd == 0.0


def test_a_changed_prompt_diverges_and_the_difference_is_printed(recorded, call, tmp_path) -> None:
    def change(lines: list[Any]) -> None:
        text = lines[0]["request"]["text"]
        lines[0]["request"]["text"] = text.replace("write the word done", "write the word gone")
        assert lines[0]["request"]["text"] != text

    edit_lines(recording(recorded), change)
    said = call("replay", recorded, "--name", "again")
    assert said.code == 4, said.err + said.out
    result = the_result(tmp_path, "again")
    assert (result.outcome, result.passed, result.excluded) == (Outcome.REPLAY_DIVERGED, None, True)
    assert Flag.FIXTURE_MODIFIED in result.flags
    assert said.out.startswith("DIFFERS  hello")
    assert said.out.count("the nearest recorded request is 1") == 1
    assert "-Read the notes, then write the word gone.\n" in said.out
    assert "+Read the notes, then write the word done.\n" in said.out
    assert call("check", recording(recorded)).code == 4


def test_an_answer_that_was_edited_is_played_and_told(recorded, call, tmp_path) -> None:
    def change(lines: list[Any]) -> None:
        text = lines[1]["response"]["text"]
        lines[1]["response"]["text"] = text.replace("echo done", "echo gone")
        assert lines[1]["response"]["text"] != text

    edit_lines(recording(recorded), change)
    said = call("replay", recorded, "--name", "again")
    assert said.code == 4, said.out
    result = the_result(tmp_path, "again")
    assert result.outcome is Outcome.REPLAY_DIVERGED  # the next request carries what was answered
    assert Flag.FIXTURE_MODIFIED in result.flags
    assert "echo gone" in said.out


def test_what_the_agent_reads_is_part_of_what_is_replayed(recorded, task, call, tmp_path) -> None:
    notes = task / "environment" / "files" / "notes.txt"
    notes.write_text(notes.read_text().replace("pears", "bears"))
    refused = call("replay", recorded, "--name", "again")
    assert refused.code == 2
    assert "task digest" in refused.err
    changed = call("run", "-t", task, "-a", "nop", "--name", "nop")
    assert changed.code == 0
    edit_json(recording(recorded) / "provenance.json", task_digest=the_result(tmp_path, "nop").digests.task)
    said = call("replay", recorded, "--name", "again")
    assert said.code == 4, said.err + said.out
    assert "-Start with the pears.\n" in said.out
    assert "+Start with the bears.\n" in said.out
    result = the_result(tmp_path, "again")
    assert (result.outcome, result.reward, result.excluded) == (Outcome.REPLAY_DIVERGED, None, True)
    assert "verify" not in result.phases
    report = json.loads(told(tmp_path, "again", "replay.json"))["report"]
    assert (report["ended"], report["served"], report["nearest"], report["unused"]) == ("replay_diverged", 1, 2, [2, 3])
    assert "bears" in report["difference"]
    shown = call("show", f"again:{task.name}").out
    assert "replay_diverged (excluded from the rate)" in shown
    assert "+Start with the bears." in shown
    assert "replay_diverged" in call("report", "again").out


def test_a_divergence_ends_a_trial_whatever_the_agent_tries_again(make_task, call, tmp_path) -> None:
    task = make_task()
    agent = walker("--tries 10 --pause 3")
    model = script(tmp_path / "solve.toml", "date +%s%N", SOLVE)
    assert call("run", "-t", task, *agent, "-m", model, "--name", "recorded").code == 0
    begun = time.monotonic()
    said = call("replay", "jobs/recorded", "--name", "again")
    assert time.monotonic() - begun < 3
    assert said.code == 4
    report = json.loads(told(tmp_path, "again", "replay.json"))["report"]
    assert (report["ended"], report["missed"]) == ("replay_diverged", 1)
    assert the_result(tmp_path, "again").phases["agent"] < 1
