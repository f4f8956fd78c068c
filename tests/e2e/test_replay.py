"""Trials are answered from what was recorded of others: with no model and no key, exactly, or not at all."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from bakeoff.records.journal import read_results
from bakeoff.records.outcomes import Flag, Outcome
from walking import (
    AGENT,
    SOLVE,
    WALKER,
    bodies,
    edit_json,
    edit_lines,
    exchanges,
    message,
    recording,
    script,
    the_result,
    told,
    walker,
)

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
    assert (result.reward, result.passed, result.usage.requests, result.flags) == (1.0, True, 3, (Flag.REPLAYED,))
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


VOLATILE = {
    "result": {"run_id", "started_at", "finished_at", "phases", "resources"},
    "exchange": {"started_at", "chunks", "sha256", "base"},
    "trajectory": {"session_id", "trajectory_id", "timestamp"},
    "provenance": {"captured_at", "sha256"},
}
"""Times and ids, and digests of what has them in it: all in which two replays of one fixture may differ."""


def plain(value: Any, volatile: set[str]) -> Any:
    """A record without its volatile fields."""
    if isinstance(value, dict):
        return {name: plain(item, volatile) for name, item in value.items() if name not in volatile}
    return [plain(item, volatile) for item in value] if isinstance(value, list) else value


def records(job: Path) -> dict[str, Any]:
    """All that a job with one trial says of it, with the ids of the job and the trial under one name."""
    (line,) = read_results(job)
    folder = job / line.path

    def read(text: str, kind: str) -> Any:
        return plain(json.loads(text.replace(line.run_id, "RUN").replace(str(job), "JOB")), VOLATILE.get(kind, set()))

    sides: tuple[Literal["request", "response"], ...] = ("request", "response")
    fixture = folder / "fixture"
    return {
        "result": read((job / "results.jsonl").read_text(), "result"),
        "replay": read((folder / "replay.json").read_text(), "replay"),
        "trajectory": read((folder / "trajectory.json").read_text(), "trajectory"),
        "provenance": read((fixture / "provenance.json").read_text(), "provenance"),
        "exchanges": [plain(msgspec.to_builtins(one), VOLATILE["exchange"] | {"text"}) for one in exchanges(job)],
        "bodies": [read(json.dumps(bodies(job, side)), "bodies") for side in sides],
    }


def test_two_replays_of_one_fixture_are_equal_but_for_times_and_ids(recorded, call, tmp_path) -> None:
    for name in ("one", "two"):
        assert call("replay", recording(recorded), "-t", tmp_path / "tasks" / "hello", "--name", name).code == 0
    one, two = (records(tmp_path / "jobs" / name) for name in ("one", "two"))
    for kind in one:
        assert one[kind] == two[kind], kind
    assert one["exchanges"][0]["via"] == "replayed"
    first, second = (read_results(tmp_path / "jobs" / name) for name in ("one", "two"))
    assert next(first).run_id != next(second).run_id


def test_after_until_another_model_goes_on_and_each_call_says_whose_it_was(
    recorded, call, tmp_path, served, own_file
) -> None:
    own_file(
        "prices.toml",
        '[[price]]\nprovider = "custom"\nmodel = "tiny-*"\ndate = "2026-01-01"\ninput = 10\noutput = 50\n',
    )
    served.plays = [lambda asked: asked.answer(message("", SOLVE)), lambda asked: asked.answer(message("That is all."))]
    live = ("--until", "1", "--model", "tiny-1", "--model-base-url", served.url)
    said = call("replay", recorded, *live, "--name", "on")
    assert said.code == 0, said.err + said.out
    found = exchanges(tmp_path / "jobs" / "on")
    assert [one.via for one in found] == ["replayed", "live", "live"]
    assert [one.usage.cost_usd for one in found] == [0.0, 0.002, 0.002]
    assert [one.model_sent for one in found][1:] == ["tiny-1", "tiny-1"]
    assert {one.model_requested for one in found} == {"scripted-solve"}  # the agent goes on asking for the recorded one
    assert [asked.json["model"] for asked in served.asked] == ["tiny-1", "tiny-1"]
    assert "pears" in served.asked[0].body.decode()  # with all that was said before
    result = the_result(tmp_path, "on")
    assert (result.reward, result.usage.requests, result.usage.cost_usd) == (1.0, 3, 0.004)
    assert (result.config.model, result.config.model_returned) == ("tiny-1", "tiny-1")
    report = json.loads(told(tmp_path, "on", "replay.json"))["report"]
    assert (report["served"], report["live"], report["unused"]) == (1, 2, [2, 3])


def test_a_script_can_go_on_after_a_recording_too(recorded, call, tmp_path) -> None:
    model = script(tmp_path / "other.toml", "true", SOLVE)
    said = call("replay", recorded, "--until", "1", "--model", model, "--name", "on")
    assert said.code == 0, said.err + said.out
    assert [one.via for one in exchanges(tmp_path / "jobs" / "on")] == ["replayed", "scripted", "scripted"]
    assert call("replay", recorded, "--until", "9", "--model", model, "--name", "far").code == 3
    assert "0 to 3" in the_result(tmp_path, "far").detail


def test_what_a_fixture_was_not_recorded_with_is_refused(recorded, task, call, tmp_path) -> None:
    def again(*more: str) -> Any:
        said = call("run", "-t", task, "--replay", recorded, *more)
        assert not list(tmp_path.glob("jobs/*_*"))
        return said

    other = again("-a", "nop")
    assert (other.code, "no fixture of this agent" in other.err) == (2, True)
    model = again("-m", "openai/other")
    assert (model.code, "no fixture of this model" in model.err) == (2, True)
    (task / "instruction.md").write_text("Read the notes, then write the word gone.\n")
    prompt = again()
    assert prompt.code == 2
    assert "prompt_sha256" in prompt.err


def test_run_replay_tells_what_diverged_and_is_incomplete(recorded, task, call, tmp_path) -> None:
    assert call("run", "-t", task, "--replay", recorded, "--name", "good").code == 0
    edit_lines(recording(recorded), lambda lines: lines[2]["request"].update(text="{}", delta=None))
    said = call("run", "-t", task, "--replay", recorded, "--name", "bad")
    assert said.code == 3
    assert "replay_diverged" in said.out
    assert the_result(tmp_path, "bad").outcome is Outcome.REPLAY_DIVERGED


def test_a_replay_that_goes_on_after_the_last_recorded_answer_is_exhausted(recorded, call, tmp_path) -> None:
    edit_lines(recording(recorded), lambda lines: lines.pop())
    said = call("replay", recorded, "--name", "again")
    assert said.code == 4
    result = the_result(tmp_path, "again")
    assert (result.outcome, result.excluded) == (Outcome.REPLAY_EXHAUSTED, True)
    assert "request 2 was the last" in result.detail


def test_another_make_of_the_agent_is_told(make_task, call, tmp_path) -> None:
    task = make_task()
    agent = tmp_path / "walker.py"
    agent.write_bytes(WALKER.read_bytes())
    line = ("--agent-cmd", "python3 /agent/walker.py", "--agent-files", agent)
    assert call("run", "-t", task, *line, "-m", script(tmp_path / "s.toml", SOLVE), "--name", "recorded").code == 0
    agent.write_bytes(WALKER.read_bytes() + b"\n")
    assert call("replay", "jobs/recorded", "--name", "again").code == 0
    (note,) = json.loads(told(tmp_path, "again", "replay.json"))["report"]["notes"]
    assert "the agent command is not made of what it was made of" in note


def test_streams_are_played_at_once_or_in_the_time_that_they_took(make_task, call, tmp_path) -> None:
    model = script(tmp_path / "slow.toml", SOLVE, more="delay_sec = 0.15\n")
    assert call("run", "-t", make_task(), *walker("--stream"), "-m", model, "--name", "slow").code == 0
    assert call("replay", tmp_path / "jobs" / "slow", "--name", "once").code == 0
    assert call("replay", tmp_path / "jobs" / "slow", "--name", "timed", "--timed").code == 0
    took = {name: exchanges(tmp_path / "jobs" / name)[0].chunks[-1][0] / 1e6 for name in ("slow", "once", "timed")}
    assert took["slow"] >= 0.15 and took["timed"] >= took["slow"] - 0.05
    assert took["once"] < took["slow"] / 2
