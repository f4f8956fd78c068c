"""What a task means to show although it looks like a leak."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bakeoff.api import run
from bakeoff.errors import InputErrors
from bakeoff.records.job import AgentRequest, RunRequest
from bakeoff.records.journal import read_results
from bakeoff.records.outcomes import Outcome
from bakeoff.tasks.harbor import load
from bakeoff.tasks.meant import is_meant, meant_files

MakeTask = Callable[..., Path]


def test_patterns_are_of_paths_in_the_sandbox_or_in_the_task(make_task: MakeTask) -> None:
    task = load(make_task(bakeoff='meant = ["/app/repo/.git/**", "data/answer-*"]'))
    assert is_meant(task, "", "/app/repo/.git")
    assert is_meant(task, "/app/repo/.git/objects/pack/x")
    assert is_meant(task, "data/answer-1.txt", "")
    assert not is_meant(task, "/app/repo", "data/other", "")
    assert not is_meant(load(make_task("none")), "/app/repo/.git")


def test_files_are_meant_by_their_own_path_or_by_that_in_the_packet(make_task: MakeTask) -> None:
    folder = make_task(bakeoff='meant = ["/task_packet/fixture/data/gold.txt", "data/key-answer"]')
    (folder / "data").mkdir()
    for name in ("gold.txt", "key-answer", "other"):
        (folder / "data" / name).write_text(name)
    assert meant_files(load(folder)) == {"data/gold.txt", "data/key-answer"}


@pytest.mark.parametrize("pattern", ["../x", "/app/../etc", "."])
def test_a_pattern_that_is_no_path_is_refused(make_task: MakeTask, pattern: str) -> None:
    with pytest.raises(InputErrors) as caught:
        load(make_task(bakeoff=f'meant = ["{pattern}"]'))
    assert [finding.field for finding in caught.value.findings] == ["metadata.bakeoff.meant[0]"]


@pytest.mark.parametrize(("meant", "outcome"), [("", Outcome.REFUSED), ('meant = ["data/*"]', Outcome.PASSED)])
async def test_a_trial_shows_what_is_meant_and_nothing_else_that_looks_private(
    make_task: MakeTask, tmp_path: Path, meant: str, outcome: Outcome
) -> None:
    folder = make_task(bakeoff=f'visible = ["data/*"]\n{meant}')
    (folder / "data").mkdir()
    (folder / "data" / "answer-form.txt").write_text("a form\n")
    request = RunRequest(datasets=(str(folder.parent),), agents=(AgentRequest(name="oracle"),))
    end = await run(request, out=tmp_path / "jobs", name="job")
    assert [result.outcome for result in read_results(end.path)] == [outcome]
