"""``bakeoff import`` and ``bakeoff export``: what goes in comes out, and nothing is left half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from bakeoff.cli.main import main
from bakeoff.gateway.exports.otel import line
from bakeoff.records.atif import Trajectory
from bakeoff.records.exchanges import Provenance
from bakeoff.records.journal import JOB, Journal
from bakeoff.records.otel import TraceRequest
from bakeoff.records.outcomes import Outcome
from bakeoff.records.results import Config, TrialResult
from recorded import FACTS, Recording, result, shell, system, user


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Spans of a trial of two turns."""
    recording = Recording()
    said = recording.ask([system("Be brief."), user("Add up.")], "Looking.", shell("a", "ls"))
    recording.ask([*said, result("a", "x")], "Done.")
    file = tmp_path / "spans.jsonl"
    file.write_bytes(b"".join(line(FACTS, recording.pairs)))
    return file


@pytest.fixture
def job(tmp_path: Path, log: Path) -> Path:
    """A job of three trials, the last of which has no traffic."""
    folder = tmp_path / "jobs" / "some"
    folder.mkdir(parents=True)
    (folder / JOB).write_text("{}")
    journal = Journal(folder)
    for number in (1, 2, 3):
        path = f"trials/sums/walker.{number}"
        if number < 3:
            assert main(["import", str(log), "--from", "otel", "-o", str(folder / path / "fixture")]) == 0
        journal.append(
            TrialResult(
                run_id=f"run-{number}",
                task="sums",
                config=Config("walker", "1.2", "small-1", slug="walker"),
                attempt=number,
                outcome=Outcome.PASSED,
                passed=True,
                reward=1.0,
                path=path,
            )
        )
    journal.close()
    return folder


def test_an_imported_log_is_exported_as_the_same_trajectory(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(log), "--from", "otel", "-o", "made"]) == 0
    assert capsys.readouterr().out == "made: 2 requests with their answers\n"
    assert main(["export", "made", "--to", "atif"]) == 0
    said = capsys.readouterr()
    whole = msgspec.json.decode(said.out, type=Trajectory)
    assert [step.message for step in whole.steps] == ["Be brief.", "Add up.", "Looking.", "Done."]
    assert said.err == "1 trial exported\n"


def test_what_is_told_on_the_command_line_stands_in_the_provenance(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ["--agent", "codex", "--agent-version", "2", "-m", "openai/small-1", "--reward", "0"]
    assert main(["import", str(log), "--from", "otel", "-o", "made", *told]) == 0
    provenance = msgspec.json.decode(Path("made/provenance.json").read_bytes(), type=Provenance)
    assert (provenance.agent.name, provenance.agent.version, provenance.model) == ("codex", "2", "openai/small-1")
    assert (provenance.reward, provenance.raw) == (0.0, False)


def test_a_task_that_is_named_is_the_one_of_the_provenance(log: Path, make_task: Callable[..., Path]) -> None:
    task = make_task("mine")
    assert main(["import", str(log), "--from", "otel", "-o", "made", "-t", str(task), "--reward", "1"]) == 0
    provenance = msgspec.json.decode(Path("made/provenance.json").read_bytes(), type=Provenance)
    assert (provenance.dataset, provenance.task, provenance.outcome) == ("tasks", "mine", "passed")
    assert provenance.task_digest
    assert provenance.verifier_digest


def test_a_job_is_a_file_for_each_trial_with_traffic(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["export", "some", "--to", "atif", "-o", "out"]) == 0
    files = sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*") if path.is_file())
    assert files == ["sums/walker.1.json", "sums/walker.2.json"]
    whole = msgspec.json.decode(Path("out/sums/walker.1.json").read_bytes(), type=Trajectory)
    assert (whole.session_id, whole.agent.version) == ("run-1", "1.2")
    assert capsys.readouterr().err == "2 trials exported to out; 1 without an answer of a model left out\n"


def test_a_job_is_a_line_of_spans_for_each_trial(job: Path) -> None:
    assert main(["export", str(job), "--to", "otel", "-o", "spans.otlp"]) == 0
    lines = Path("spans.otlp").read_bytes().splitlines()
    counts = [
        len(msgspec.json.decode(each, type=TraceRequest).resource_spans[0].scope_spans[0].spans) for each in lines
    ]
    assert counts == [4, 4, 1]
    assert [path.name for path in Path().iterdir() if path.name.startswith(".")] == []


def test_one_trial_is_one_file(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "some:sums:2", "--to", "atif", "-o", "one.json"]) == 0
    assert json.loads(Path("one.json").read_bytes())["session_id"] == "run-2"
    assert main(["export", str(job / "trials/sums/walker.1"), "--to", "atif", "-o", "-"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["session_id"] == "run-1"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("export some --to atif -o one.json", "-o: several trials, and one file"),
        ("export some:sums:3 --to atif", "no model answered in it"),
        ("export nothing --to atif", "not a trial"),
        ("export some --to atif --endpoint http://127.0.0.1:9", "--endpoint: cannot be had"),
        ("export some --to otel --endpoint somewhere", "not an address of a collector"),
        ("export some --to otel --endpoint http://127.0.0.1:9", "the collector cannot be reached"),
        ("export some --to otl", "did you mean 'otel'"),
        ("export some --to otel -o spans.jsonl/x", "-o: cannot be written"),
        ("import none.jsonl --from otel -o made", "none.jsonl: cannot be read"),
        ("import spans.jsonl --from litellm -o made", "spans.jsonl: line 1: messages"),
        ("import spans.jsonl --from otel -o jobs", "jobs: there is something already"),
        ("import spans.jsonl --from otel -o made -t none", "none"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    job: Path, capsys: pytest.CaptureFixture[str], line: str, says: str
) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()}
    assert main(line.split()) == 2
    assert says in capsys.readouterr().err
    after = {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file() and path.name != "one.json"}
    assert after == before
