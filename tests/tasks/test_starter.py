"""The datasets that ship: what every task of ``starter`` has, and that evidence and lock speak of the tasks as they are."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bakeoff.checks.evidence import EVIDENCE, LOCK, read_evidence, unchecked
from bakeoff.checks.validate.needs import NOT_EVERYWHERE
from bakeoff.records.checks import DatasetLock
from bakeoff.tasks.datasets import load_dataset
from bakeoff.tasks.model import Dataset, NetworkMode, Task, Visibility
from bakeoff.tasks.shipped import shipped_datasets
from bakeoff.tasks.wrong import wrong_solutions

STARTER = load_dataset(str(shipped_datasets() / "starter"))
each = pytest.mark.parametrize("task", STARTER.tasks, ids=lambda task: task.name)


def needs(task: Task) -> set[str]:
    return {need.partition(">")[0].partition("=")[0] for need in task.environment.needs}


def metadata(task: Task, key: str) -> str:
    value = task.metadata.get(key)
    return value if isinstance(value, str) else ""


def test_it_has_work_of_many_kinds_and_grades() -> None:
    assert len(STARTER.tasks) >= 16
    assert len({task.category for task in STARTER.tasks}) >= 8
    assert {task.difficulty for task in STARTER.tasks} == {"easy", "medium", "hard"}


def test_most_of_it_runs_wherever_bakeoff_does() -> None:
    assert sum(needs(task) & NOT_EVERYWHERE <= {"python3"} for task in STARTER.tasks) >= 10


@each
def test_a_task_says_what_it_is_where_it_comes_from_and_what_it_needs(task: Task) -> None:
    assert task.name == Path(task.origin).name
    assert task.version and task.description and task.category and task.tags
    assert metadata(task, "license") == "Apache-2.0"
    assert metadata(task, "provenance")
    assert task.metadata["expert_time_min"] in range(5, 61)
    assert task.environment.root == "host"
    assert task.environment.dockerfile == "environment/Dockerfile"
    assert task.environment.network.mode is NetworkMode.NONE
    assert needs(task)
    assert all(step.agent.timeout_sec and step.verifier.timeout_sec for step in task.steps)


@each
def test_a_task_has_a_solution_and_mistakes_that_are_explained(task: Task) -> None:
    assert task.steps[0].solution
    wrong = wrong_solutions(task)
    assert len(wrong) >= 2
    for name in wrong:
        heads = [file.read_text().splitlines()[:6] for file in (Path(task.origin) / "wrong" / name).iterdir()]
        assert any(line.startswith(("# ", '"""Wrong')) for head in heads for line in head), (
            f"{name} does not say what is wrong"
        )


@each
def test_a_task_shows_no_more_than_its_instruction_and_its_environment(task: Task) -> None:
    shown = {file.path.split("/")[0] for file in task.files if file.visibility is Visibility.AGENT}
    assert shown <= {"instruction.md", "environment"}
    assert sum(file.size for file in task.files) < 400_000
    assert not any(file.link for file in task.files), "a wheel cannot hold links"


def test_all_verdicts_are_written_in_one_way() -> None:
    """By a script that ends with the verdict: what a judged program wrote there is gone, and nothing appended to it runs."""
    assert len({(Path(task.origin) / "tests" / "test.sh").read_bytes() for task in STARTER.tasks}) == 1


def test_what_judges_share_is_the_same_in_every_task_that_has_it() -> None:
    shared = (shipped_datasets() / "shared" / "judging.py").read_bytes()
    copies = [Path(task.origin) / "tests" / "judging.py" for task in STARTER.tasks]
    here = [copy for copy in copies if copy.exists()]
    assert here
    other = [str(copy) for copy in here if copy.read_bytes() != shared]
    assert not other, "copy datasets/shared/judging.py there"


@pytest.mark.parametrize("dataset", [STARTER, load_dataset("humaneval")], ids=lambda dataset: dataset.name)
def test_every_task_that_ships_was_checked_in_the_form_it_has(dataset: Dataset) -> None:
    place = shipped_datasets() / dataset.name
    stale = "call scripts/check-datasets"
    lock = msgspec.json.decode((place / LOCK).read_bytes(), type=DatasetLock)
    assert {ref: locked.digest for ref, locked in lock.tasks.items()} == {t.ref: t.digest for t in dataset.tasks}, stale
    assert lock.digest == dataset.digest, stale
    evidence = read_evidence(place / EVIDENCE)
    assert set(evidence.tasks) == {task.ref for task in dataset.tasks}, stale
    for task in dataset.tasks:
        found = evidence.tasks[task.ref]
        assert (found.digest, found.verifier, found.trusted) == (task.digest, task.verifier.digest, True), stale
        assert found.controls["oracle"] == ("passed", "passed")
        assert set(found.controls) == {"oracle", "nop", *(f"wrong/{name}" for name in wrong_solutions(task))}
    assert unchecked([dataset], dataset.tasks) == ""
