"""Folders of controls: the last few are kept, and none that another check works in is taken away."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from bakeoff.checks.folders import check_folder
from bakeoff.home import home


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEOFF_HOME", str(tmp_path / "home"))


def test_the_last_few_are_kept_and_those_of_other_names_stay() -> None:
    with check_folder("mine.v2") as other:
        pass
    made: list[Path] = []
    for _ in range(5):
        with check_folder("mine") as folder:
            made.append(folder)
    assert set((home() / "checks").iterdir()) == {other, *made[-3:]}


def test_checks_side_by_side_leave_each_other_alone() -> None:
    with ExitStack() as stack:
        made = [stack.enter_context(check_folder("mine")) for _ in range(6)]
        assert all(folder.is_dir() for folder in made)
    with check_folder("mine") as last:
        assert set((home() / "checks").iterdir()) == {*made[-2:], last}
