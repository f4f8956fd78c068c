"""What checks leave on record: where, for which digests, and what is said of tasks that nothing vouches for."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff import api
from bakeoff.checks import evidence as evidence_module
from bakeoff.checks.evidence import EVIDENCE, LOCK, read_evidence, unchecked, write_evidence
from bakeoff.errors import InputError
from bakeoff.home import home
from bakeoff.records.checks import GATES, DatasetEvidence, DatasetLock, TaskEvidence
from bakeoff.tasks.datasets import load_dataset
from bakeoff.tasks.model import Dataset, Task

MakeTask = Callable[..., Path]


def evidence(task: Task, **gates: bool) -> TaskEvidence:
    return TaskEvidence(
        digest=task.digest,
        verifier=task.verifier.digest,
        checked_at="2026-01-02T03:04:05.000000Z",
        bakeoff="1",
        backend="bubblewrap",
        gates=gates or dict.fromkeys(GATES, True),  # pyright: ignore[reportArgumentType] - the names are those of gates
    )


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidence of equal tasks in other tests would vouch for these."""
    monkeypatch.setenv("BAKEOFF_HOME", str(tmp_path / "home"))


@pytest.fixture
def dataset(make_task: MakeTask) -> Callable[[], Dataset]:
    """Loads the dataset of two tasks anew each time, as another process would."""
    folder = make_task("a").parent
    make_task("b")
    return lambda: load_dataset(str(folder))


def test_a_dataset_that_was_named_by_its_path_keeps_evidence_and_lock_beside_it(dataset: Callable[[], Dataset]) -> None:
    found = dataset()
    file = write_evidence(found, {task.ref: evidence(task) for task in found.tasks}, whole=True)
    assert file == Path(found.folder) / EVIDENCE
    lock = msgspec.json.decode((Path(found.folder) / LOCK).read_bytes(), type=DatasetLock)
    assert lock.digest == found.digest
    assert {ref: task.digest for ref, task in lock.tasks.items()} == {task.ref: task.digest for task in found.tasks}
    assert unchecked([dataset()], found.tasks) == ""


def test_a_part_of_a_dataset_leaves_the_lock_and_the_rest_alone(dataset: Callable[[], Dataset]) -> None:
    found = dataset()
    first, second = found.tasks
    write_evidence(found, {first.ref: evidence(first)}, whole=False)
    write_evidence(found, {second.ref: evidence(second)}, whole=False)
    assert set(read_evidence(Path(found.folder) / EVIDENCE).tasks) == {"a", "b"}
    assert not (Path(found.folder) / LOCK).exists()


def test_gates_that_were_looked_at_one_by_one_add_up_until_the_task_changes(dataset: Callable[[], Dataset]) -> None:
    found = dataset()
    for gate in GATES:
        assert "checked in part" in unchecked([found], found.tasks) or gate == GATES[0]
        write_evidence(found, {task.ref: evidence(task, **{gate: True}) for task in found.tasks}, whole=False)
    assert unchecked([found], found.tasks) == ""
    (Path(found.tasks[0].origin) / "instruction.md").write_text("Write the word done into /app/answer.txt, please.\n")
    changed = dataset()
    assert "changed since its check: a." in unchecked([changed], changed.tasks)
    write_evidence(changed, {"a": evidence(changed.tasks[0], leak=True)}, whole=False)
    assert "checked in part: a." in unchecked([changed], changed.tasks)


def test_a_failed_gate_is_told_as_such(dataset: Callable[[], Dataset]) -> None:
    found = dataset()
    write_evidence(found, {"a": evidence(found.tasks[0], leak=False)}, whole=False)
    told = unchecked([found], found.tasks)
    assert "failed a check: a" in told
    assert "never checked: b" in told
    assert f"`bakeoff check {found.ref}`" in told


def test_somebody_elses_dataset_is_never_written_to(dataset: Callable[[], Dataset]) -> None:
    found = msgspec.structs.replace(dataset(), by_name=True)
    place = write_evidence(found, {task.ref: evidence(task) for task in found.tasks}, whole=True)
    assert place.is_relative_to(home())
    assert not (Path(found.folder) / EVIDENCE).exists()
    assert unchecked([found], found.tasks) == ""


def test_many_names_are_cut_to_a_few(dataset: Callable[[], Dataset]) -> None:
    task = dataset().tasks[0]
    many = [msgspec.structs.replace(task, name=f"t{number}", digest=f"sha256:{number}") for number in range(9)]
    assert "t0, t1, t2, t3, t4 and 4 more." in unchecked([], many)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not evidence of checks"),
        ('{"dataset": 3}', "not evidence of checks"),
        ('{"dataset": "x", "schema_version": "9.0"}', "another version"),
    ],
)
def test_a_file_that_is_no_evidence_is_told_and_never_written_over(
    dataset: Callable[[], Dataset], text: str, message: str
) -> None:
    found = dataset()
    file = Path(found.folder) / EVIDENCE
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        write_evidence(found, {"a": evidence(found.tasks[0])}, whole=False)
    assert file.read_text() == text
    assert message in unchecked([found], found.tasks)


def _fifo(place: Path) -> None:
    os.mkfifo(place / EVIDENCE)


def _endless(place: Path) -> None:
    (place / EVIDENCE).symlink_to("/dev/zero")


def _lock_folder(place: Path) -> None:
    (place / LOCK).mkdir()


def _in_the_way(place: Path) -> None:
    place.rmdir()
    place.touch()


@pytest.mark.parametrize("plant", [_fifo, _endless, _lock_folder, _in_the_way])
async def test_what_keeps_evidence_out_is_told_before_anything_is_run(
    dataset: Callable[[], Dataset], tmp_path: Path, plant: Callable[[Path], None]
) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()
    plant(place)
    with pytest.raises(InputError, match="elsewhere"):
        await api.check(dataset().folder, evidence=place)
    assert not (home() / "checks").exists()


def test_evidence_that_would_be_waited_for_is_told_and_holds_up_no_run(dataset: Callable[[], Dataset]) -> None:
    found = dataset()
    _fifo(Path(found.folder))
    assert "not a file" in unchecked([found], found.tasks)


def test_checks_that_end_together_lose_nothing_of_each_other(
    dataset: Callable[[], Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = dataset()
    task = found.tasks[0]
    write = evidence_module.write_json

    def slowly(path: Path, value: object) -> None:
        time.sleep(0.05)
        write(path, value)

    monkeypatch.setattr(evidence_module, "write_json", slowly)
    with ThreadPoolExecutor() as pool:
        each = [{task.ref: evidence(task, **{name: True})} for name in GATES]
        list(pool.map(lambda one: write_evidence(found, one, whole=False), each))
    assert read_evidence(Path(found.folder) / EVIDENCE).tasks[task.ref].trusted


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200) | st.recursive(st.none() | st.text(max_size=5), st.lists).map(json.dumps).map(str.encode)
)
def test_whatever_stands_in_the_file_is_evidence_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    file = tmp_path_factory.mktemp("evidence") / EVIDENCE
    file.write_bytes(data)
    try:
        assert isinstance(read_evidence(file), DatasetEvidence)
    except InputError:
        pass
