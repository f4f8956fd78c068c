"""The helpers of the tests themselves: what is missing is skipped here and fails where it is required, and an ordinary user is one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from _pytest.outcomes import Failed, Skipped

from skips import ran_nowhere


@pytest.mark.parametrize(
    ("required", "outcome"), [("", Skipped), ("other", Skipped), ("all", Failed), ("other,engine", Failed)]
)
def test_a_missing_engine_is_a_skip_here_and_a_failure_where_it_is_required(
    require: Callable[[str, bool, str], None],
    monkeypatch: pytest.MonkeyPatch,
    required: str,
    outcome: type[BaseException],
) -> None:
    monkeypatch.setenv("BAKEOFF_REQUIRE", required)
    with pytest.raises(outcome, match="not on this machine"):
        require("engine", False, "not on this machine")
    require("engine", True, "not on this machine")


def test_the_ordinary_user_is_not_root_and_can_call_bakeoff(ordinary_user) -> None:
    assert ordinary_user.run(["id", "-u"]).stdout.strip() != "0"
    said = ordinary_user.bakeoff("--version")
    assert said.stdout.startswith("bakeoff "), said.stderr


def test_bakeoff_home_is_not_the_users_own(isolated_home: Path) -> None:
    from bakeoff.home import home, user_config

    assert home() == isolated_home
    assert Path.home() not in user_config().parents


def test_a_test_that_every_run_skipped_is_named() -> None:
    root = {"both": "passed", "roots": "passed", "users": "skipped", "hidden": "skipped", "gone": "skipped"}
    user = {"both": "passed", "roots": "skipped", "users": "passed", "hidden": "skipped"}
    assert ran_nowhere(root, user) == ["gone", "hidden"]
