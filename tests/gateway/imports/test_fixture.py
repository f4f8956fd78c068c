"""An imported log is a fixture that says it has no raw bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bakeoff.errors import InputError
from bakeoff.gateway.exports.facts import of_fixture
from bakeoff.gateway.exports.otel import line as exported
from bakeoff.gateway.exports.reading import pairs
from bakeoff.gateway.exports.trajectory import trajectory
from bakeoff.gateway.imports.fixture import About, Brought, bring
from bakeoff.gateway.imports.otel import read
from bakeoff.gateway.shapes.neutral import neutral_key
from bakeoff.records.fixtures import read_fixture
from recorded import FACTS, Recording, result, shell, system, user

KEY = "-".join(("made", "up", "but", "long", "enough"))


def log(folder: Path, *, told: str = "x") -> Path:
    """A log of a trial of three turns."""
    recording = Recording()
    said = recording.ask([system("Be brief."), user("Add up.")], "Looking.", shell("a", "ls"), reasoning="Hm.")
    said = recording.ask([*said, result("a", told)], "", shell("b", "cat x"))
    recording.ask([*said, result("b", "1 2")], "3")
    file = folder / "spans.jsonl"
    file.write_bytes(b"".join(exported(FACTS, recording.pairs)))
    return file


def brought(folder: Path, file: Path, about: About | None = None, **environment: str) -> Brought:
    return bring(file, "otel", folder / "fixture", about or About(), environment=environment)


def test_a_fixture_holds_the_turns_and_says_that_they_are_not_raw(tmp_path: Path) -> None:
    file = log(tmp_path)
    made = brought(tmp_path, file)
    fixture = read_fixture(made.folder)
    assert not fixture.modified
    assert list(fixture.verify()) == []
    provenance = fixture.provenance
    assert provenance is not None
    assert provenance == made.provenance
    assert (provenance.raw, provenance.exchanges, provenance.source) == (
        False,
        3,
        "OpenTelemetry GenAI spans: spans.jsonl",
    )
    assert (provenance.agent.name, provenance.task, provenance.reward) == ("walker", "sums", 1.0)
    wanted = [neutral_key(turn.ask) for turn in read(file).turns]
    found = list(pairs(fixture))
    assert [neutral_key(ask) for _, ask, _ in found] == wanted
    turns = [turn for _, _, turn in found if turn is not None]
    assert [turn.text for turn in turns] == ["Looking.", "", "3"]
    assert turns[0].reasoning == "Hm."
    assert [exchange.usage.input_tokens for exchange, _, _ in found] == [100, 200, 300]
    assert {exchange.started_at for exchange, _, _ in found} == {f"2026-01-01T00:00:0{n}.000000Z" for n in (1, 2, 3)}


def test_its_trajectory_is_that_of_the_trial_it_came_from(tmp_path: Path) -> None:
    fixture = read_fixture(brought(tmp_path, log(tmp_path)).folder)
    assert fixture.provenance is not None
    whole = trajectory(of_fixture(fixture.provenance), pairs(fixture))
    assert [step.message for step in whole.steps] == ["Be brief.", "Add up.", "Looking.", "", "3"]


def test_what_is_known_counts_more_than_what_the_log_says(tmp_path: Path) -> None:
    about = About(
        task="other@one", agent="runner", agent_version="3", model="big", reward=0.5, dataset="mine", task_digest="d"
    )
    provenance = brought(tmp_path, log(tmp_path), about).provenance
    assert (provenance.dataset, provenance.task, provenance.case, provenance.task_digest) == (
        "mine",
        "other",
        "one",
        "d",
    )
    assert (provenance.agent.name, provenance.agent.version) == ("runner", "3")
    assert (provenance.model, provenance.reward) == ("big", 0.5)


def test_secrets_of_the_environment_are_replaced(tmp_path: Path) -> None:
    made = brought(tmp_path, log(tmp_path, told=f"the key is {KEY}"), MADE_UP_API_KEY=KEY)
    fixture = read_fixture(made.folder)
    bodies = b"".join(fixture.body(each, side) for each in fixture.exchanges for side in ("request", "response"))
    assert KEY.encode() not in bodies
    assert b"[redacted:MADE_UP_API_KEY]" in bodies
    assert made.provenance.redactions == {"MADE_UP_API_KEY": 2}


def test_a_log_without_a_turn_is_an_error_that_says_what_was_in_it(tmp_path: Path) -> None:
    recording = Recording()
    recording.fail([user("Go.")])
    file = tmp_path / "spans.jsonl"
    file.write_bytes(b"".join(exported(FACTS, recording.pairs)))
    with pytest.raises(InputError, match=r"no request with an answer in it \(found 1 with the status error"):
        brought(tmp_path, file)
    assert not (tmp_path / "fixture").exists()


def test_a_broken_log_leaves_nothing_behind(tmp_path: Path) -> None:
    file = log(tmp_path)
    with open(file, "a") as stream:
        stream.write("nonsense\n")
    with pytest.raises(InputError, match="line 2"):
        brought(tmp_path, file)
    assert [path.name for path in tmp_path.iterdir()] == ["spans.jsonl"]


def test_a_folder_that_holds_something_is_left_as_it_is(tmp_path: Path) -> None:
    there = tmp_path / "fixture" / "provenance.json"
    there.parent.mkdir()
    there.write_text("mine")
    with pytest.raises(InputError, match="something already"):
        brought(tmp_path, log(tmp_path))
    assert there.read_text() == "mine"


def test_long_conversations_are_not_stored_again_with_every_turn(tmp_path: Path) -> None:
    recording = Recording()
    said = [system("Be brief. " * 500), user("Go.")]
    for number in range(20):
        said = recording.ask(said, "", shell(f"c{number}", "ls"))
        said = [*said, result(f"c{number}", "y" * 5000)]
    file = tmp_path / "spans.jsonl"
    file.write_bytes(b"".join(exported(FACTS, recording.pairs)))
    made = brought(tmp_path, file)
    fixture = read_fixture(made.folder)
    whole = sum(each.request.size for each in fixture.exchanges)
    lines = sum(len(json.dumps(each.request.text)) for each in fixture.exchanges)
    assert lines < whole / 5
    assert list(fixture.verify()) == []
