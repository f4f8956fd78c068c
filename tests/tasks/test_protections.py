"""Which protections a task may have lifted, and what it is told about the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakeoff.errors import InputErrors
from bakeoff.tasks.harbor import load
from bakeoff.tasks.protections import LIFTABLE, PROTECTIONS


def task(place: Path, *names: str) -> Path:
    (place / "tests").mkdir()
    (place / "tests" / "test.sh").write_text("#!/bin/sh\n")
    (place / "instruction.md").write_text("Do it.\n")
    listed = ", ".join(f'"{name}"' for name in names)
    (place / "task.toml").write_text(f'[metadata.bakeoff]\nroot = "host"\nwiden = [{listed}]\n')
    return place


@pytest.mark.parametrize("name", LIFTABLE)
def test_a_task_may_lift_what_harms_nobody_but_its_own_sandbox(tmp_path: Path, name: str) -> None:
    assert load(task(tmp_path, name)).environment.widen == (name,)


@pytest.mark.parametrize("name", [protection.name for protection in PROTECTIONS if protection.kept])
def test_a_task_may_not_lift_what_others_rest_on(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputErrors) as caught:
        load(task(tmp_path, "personality", name))
    (finding,) = caught.value.findings
    assert finding.field == "metadata.bakeoff.widen[1]" and finding.where.endswith("task.toml")
    assert "no task may lift" in finding.message and finding.found == repr(name)


def test_a_name_that_is_none_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(InputErrors) as caught:
        load(task(tmp_path, "proc_sys", "zzz"))
    first, second = caught.value.findings
    assert (first.message, first.nearest) == ("not a protection", "proc-sys")
    assert (second.nearest, second.wanted) == ("", f"any of {', '.join(LIFTABLE)}")


def test_a_name_given_twice_is_lifted_once(tmp_path: Path) -> None:
    assert load(task(tmp_path, "terminal", "terminal")).environment.widen == ("terminal",)
