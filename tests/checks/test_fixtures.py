"""``bakeoff check`` of fixtures: orphans, edited ones, errors only and secrets are found; what is known to be bad is told, not hidden."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from bakeoff.checks.fixtures import check_fixtures, is_of_fixtures
from bakeoff.errors import InputError
from bakeoff.records.checks import CheckReport
from bakeoff.records.exchanges import Blob, Exchange, FixtureAgent, Provenance
from bakeoff.records.fixture_files import digest, line_of
from bakeoff.records.provenance import write_provenance
from bakeoff.tasks.datasets import load_dataset

REPOSITORY = Path(__file__).resolve().parent.parent.parent
TOKEN = "ghp_" + "a1B2" * 9
MakeTask = Callable[..., Path]


def a_blob(text: str) -> Blob:
    import hashlib

    return Blob(sha256=hashlib.sha256(text.encode()).hexdigest(), size=len(text.encode()), text=text)


def an_exchange(seq: int, **fields: object) -> Exchange:
    one = Exchange(
        seq=seq, api="openai-chat", method="POST", path="/v1/chat/completions", started_at="2026-01-01T00:00:00.000000Z",
        request=a_blob(f'{{"n": {seq}}}'), status=200, response=a_blob("{}"), end="complete",
    )  # fmt: skip
    return msgspec.structs.replace(one, **fields)


@pytest.fixture
def registry(tmp_path: Path, make_task: MakeTask) -> list[Path]:
    """A dataset that is known by name, with one task in it."""
    task = make_task("solve-it")
    file = tmp_path / "registry.toml"
    file.write_text(
        f'[[dataset]]\nname = "mine"\npath = "{task.parent}"\ndescription = "one task"\nformat = "harbor"\n'
    )
    return [file]


@pytest.fixture
def make(tmp_path: Path, registry: list[Path]) -> Callable[..., Path]:
    """``make(name, *exchanges, **provenance)`` writes a fixture that is right in all that is not said otherwise."""
    (task,) = load_dataset("mine", registry=registry).tasks

    def made(name: str, *exchanges: Exchange, provenance: bool = True, **fields: object) -> Path:
        folder = tmp_path / "fixtures" / "mine" / "solve-it" / name
        folder.mkdir(parents=True)
        exchanges = exchanges or (an_exchange(1), an_exchange(2))
        (folder / "exchanges.jsonl").write_bytes(b"".join(map(line_of, exchanges)))
        told = Provenance(
            sha256=digest(exchanges), dataset="mine", task=task.name, task_digest=task.digest,
            agent=FixtureAgent(name="codex"), model="m", bakeoff="0.1.0", captured_at="2026-01-01T00:00:00.000000Z",
            outcome="passed", exchanges=len(exchanges),
        )  # fmt: skip
        if provenance:
            write_provenance(folder, msgspec.structs.replace(told, **fields))
        return folder

    return made


def gates(report: CheckReport) -> dict[str, list[str]]:
    return {gate.name: [finding.message for finding in gate.findings] for gate in report.gates if gate.findings}


def test_good_fixtures_pass_every_gate(tmp_path: Path, make: Callable[..., Path], registry: list[Path]) -> None:
    one = make("codex")
    make("claude")
    report = check_fixtures(tmp_path / "fixtures", registry=registry, environment={})
    assert report.ok and gates(report) == {}
    assert [gate.name for gate in report.gates] == ["provenance", "hashes", "answers", "secrets"]
    assert check_fixtures(one, registry=registry, environment={}).ok


@pytest.mark.parametrize(
    ("fields", "exchanges", "gate", "message"),
    [
        ({"provenance": False}, (), "provenance", "nothing says what this was recorded from"),
        ({"dataset": "elsewhere"}, (), "provenance", "an orphan: no dataset 'elsewhere'"),
        ({"task": "other"}, (), "provenance", "an orphan: the dataset 'mine' has no task 'other'"),
        ({"task_digest": "0"}, (), "provenance", "another version"),
        ({"exchanges": 9}, (), "provenance", "says 9, and there are 2"),
        ({"sha256": "0" * 64}, (), "hashes", "edited since it was recorded"),
        ({}, (an_exchange(1, response=Blob(sha256="0" * 64, size=2, text="{}")),), "hashes", "not those that were recorded"),
        ({}, (an_exchange(1, status=500), an_exchange(2, end="cut"), an_exchange(3, via="gateway")), "answers", "errors only"),
        ({}, (an_exchange(1, response=a_blob(TOKEN)),), "secrets", "github-token"),
        ({}, (an_exchange(1, request_headers=(("x-other", TOKEN),)),), "secrets", "github-token"),
        ({}, (an_exchange(1, response=a_blob("my-own-value-of-a-key")),), "secrets", "MY_KEY"),
        ({"model_options": {"extra": TOKEN}}, (), "secrets", "github-token"),
    ],
)  # fmt: skip
def test_each_gate_finds_what_it_is_for(
    make: Callable[..., Path],
    registry: list[Path],
    fields: dict[str, object],
    exchanges: tuple[Exchange, ...],
    gate: str,
    message: str,
) -> None:
    folder = make("codex", *exchanges, **fields)
    report = check_fixtures(folder, registry=registry, environment={"MY_KEY": "my-own-value-of-a-key"})
    assert not report.ok
    (said,) = gates(report)[gate]
    assert list(gates(report)) == [gate] and message in said
    assert TOKEN not in repr(report) and "my-own-value-of-a-key" not in repr(report)


def test_a_fixture_that_cannot_be_read_and_a_stray_blob_are_findings(
    make: Callable[..., Path], registry: list[Path]
) -> None:
    folder = make("codex")
    (folder / "blobs").mkdir()
    (folder / "blobs" / "left-over").write_text("x")
    report = check_fixtures(folder, registry=registry, environment={})
    assert gates(report) == {"hashes": ["no exchange has it; remove it, or record again"]}
    lines = (folder / "exchanges.jsonl").read_bytes()
    (folder / "exchanges.jsonl").write_bytes(lines[:-9])
    (finding,) = check_fixtures(folder, registry=registry, environment={}).gates[1].findings
    assert (finding.task, finding.file, finding.field) == ("codex", "exchanges.jsonl", "line 2")
    assert "the file was cut" in finding.message


def test_a_refused_recording_fails_the_gate_for_secrets(make: Callable[..., Path], registry: list[Path]) -> None:
    folder = make("codex")
    (folder / "refused.json").write_text('{"schema_version": "1.0", "reason": "why", "kinds": ["A_KEY"]}')
    report = check_fixtures(folder, registry=registry, environment={})
    (said,) = gates(report)["secrets"]
    assert "why (A_KEY)" in said


def test_known_bad_fixtures_are_told_and_fail_nothing_but_for_secrets(
    tmp_path: Path, make: Callable[..., Path], registry: list[Path]
) -> None:
    tree = tmp_path / "fixtures"
    make("bad", an_exchange(1, status=500))
    listed = tree / "known-bad.toml"
    listed.write_text('[[fixture]]\npath = "mine/solve-it/bad"\nreason = "the model was down"\ndate = 2026-01-02\n')
    for place in (tree, tree / "mine" / "solve-it" / "bad"):
        report = check_fixtures(place, registry=registry, environment={})
        notes = [note.message for gate in report.gates for note in gate.notes]
        assert report.ok
        assert notes[0] == "known to be bad since 2026-01-02: the model was down"
        assert "errors only" in notes[1]
    make("leaky", an_exchange(1, response=a_blob(TOKEN)))
    listed.write_text(listed.read_text().replace("/bad", "/leaky"))
    report = check_fixtures(tree, registry=registry, environment={})
    assert set(gates(report)) == {"answers", "secrets"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[fixture]]\npath = "a"\nreason = ""\ndate = 2026-01-01\n', "needs its reason"),
        ('[[fixture]]\npath = "../a"\nreason = "r"\ndate = 2026-01-01\n', "not below the list"),
        ('[[fixture]]\npath = "a"\nreason = "r"\n', "missing required field `date`"),
        ("[[fixtures]]\n", "not a list of fixtures"),
        ("=", "not a list of fixtures"),
    ],
)
def test_a_list_of_known_bad_ones_that_is_wrong_is_named(
    tmp_path: Path, make: Callable[..., Path], registry: list[Path], text: str, message: str
) -> None:
    make("codex")
    (tmp_path / "fixtures" / "known-bad.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        check_fixtures(tmp_path / "fixtures", registry=registry, environment={})


def test_an_entry_that_names_no_fixture_is_found(
    tmp_path: Path, make: Callable[..., Path], registry: list[Path]
) -> None:
    make("codex")
    text = '[[fixture]]\npath = "gone"\nreason = "r"\ndate = 2026-01-01\n'
    (tmp_path / "fixtures" / "known-bad.toml").write_text(text)
    report = check_fixtures(tmp_path / "fixtures", registry=registry, environment={})
    assert gates(report) == {"provenance": ["names no fixture: gone; remove the entry, or mend its path"]}


def test_fixtures_are_told_from_tasks(tmp_path: Path, make: Callable[..., Path], make_task: MakeTask) -> None:
    folder = make("codex")
    assert is_of_fixtures(folder) and is_of_fixtures(tmp_path / "fixtures")
    task = make_task("other")
    assert not is_of_fixtures(task) and not is_of_fixtures(task.parent) and not is_of_fixtures(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert not is_of_fixtures(tmp_path / "empty")


def test_the_command_says_it_and_exits_with_4(tmp_path: Path, make: Callable[..., Path], registry: list[Path]) -> None:
    make("codex")
    make("bad", an_exchange(1, status=500))
    call = [sys.executable, "-m", "bakeoff", "check", "fixtures", "--registry", str(registry[0])]
    env = {**os.environ, "BAKEOFF_HOME": str(tmp_path / "home")}
    options = {"cwd": tmp_path, "env": env, "capture_output": True, "text": True, "check": False, "timeout": 60}
    ran = subprocess.run(call, **options)
    assert ran.returncode == 4, ran.stderr
    assert "answers    does not hold: 1 finding in 1 fixture" in ran.stdout and "errors only" in ran.stdout
    assert "provenance holds" in ran.stdout and "Evidence" not in ran.stdout
    ran = subprocess.run([*call, "--format", "json"], **options)
    assert json.loads(ran.stdout)["ok"] is False
    ran = subprocess.run([*call, "--only", "leak"], **options)
    assert ran.returncode == 2 and "gates of their own" in ran.stderr


def test_the_fixtures_that_ship_pass_every_gate() -> None:
    report = check_fixtures(REPOSITORY / "fixtures", environment={})
    assert report.ok, gates(report)
