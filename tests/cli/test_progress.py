"""The lines of progress, and that nothing from outside reaches a terminal raw."""

from __future__ import annotations

import asyncio
import io

import pytest

from bakeoff.cli import progress
from bakeoff.cli.control_progress import ControlsShown
from bakeoff.cli.progress import Plain, Shown, line, word
from bakeoff.records.job import PlannedTrial
from bakeoff.records.outcomes import Outcome
from bakeoff.records.results import Config, TrialResult


def result(outcome: Outcome, **changes: object) -> TrialResult:
    fields: dict[str, object] = {
        "run_id": "r-1",
        "task": "set/one",
        "config": Config(agent="mine", slug="mine"),
        "attempt": 1,
        "outcome": outcome,
        "phases": {"agent": 1.25, "verify": 0.5},
    }
    return TrialResult(**{**fields, **changes})  # pyright: ignore


def test_each_outcome_has_a_word() -> None:
    words = {outcome: word(outcome) for outcome in Outcome}
    assert set(words.values()) == {"pass", "fail", "error", "time-out", "skip", "refused"}
    assert words[Outcome.AGENT_TIMEOUT] == "time-out"


def test_a_line_says_task_seconds_and_why() -> None:
    assert line(result(Outcome.PASSED), with_config=False) == "pass     set/one  1.8 s"
    broken = result(Outcome.SANDBOX_ERROR, detail="no overlay", attempt=2)
    assert line(broken, with_config=True) == "error    set/one [mine] #2  1.8 s  no overlay"
    assert line(result(Outcome.TAMPERED), with_config=False).endswith("tampered")


def test_a_line_never_carries_control_characters_to_the_terminal() -> None:
    shown = line(result(Outcome.AGENT_ERROR, detail="bad\x1b[2J\nword"), with_config=False)
    assert "\x1b" not in shown
    assert "\n" not in shown


def test_counts_follow_what_counts_as_passed() -> None:
    counts = Shown()
    for passed in (True, True, False, None):
        counts.add(result(Outcome.PASSED, passed=passed))
    assert str(counts) == "2 passed · 1 failed · 1 other"


async def test_a_slow_trial_is_announced_and_a_quick_one_is_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SLOW_SEC", 0.02)
    plain = Plain(Shown())
    plain.planned(2, 0)
    plain.started(PlannedTrial("r-1", "set/one", None, "mine", 1, "p"))
    plain.finished(result(Outcome.PASSED))
    plain.started(PlannedTrial("r-2", "set/two", None, "mine", 1, "p"))
    await asyncio.sleep(0.05)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "2 trials"
    assert said[1].startswith("pass     set/one")
    assert said[2].startswith("start    set/two")
    assert len(said) == 3


def test_on_80_columns_the_live_line_cuts_names_and_no_number() -> None:
    from rich.console import Console

    console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system=None)
    bar = progress.live_bar(164, console)
    bar.add_task(
        "120 passed · 30 failed · 22.1/s",
        total=164,
        completed=150,
        running="humaneval/150, humaneval/151, humaneval/152",
    )
    with console.capture() as seen:
        console.print(bar.get_renderable())
    (text,) = seen.get().splitlines()
    assert "150/164" in text
    assert "120 passed · 30 failed · 22.1/s" in text
    assert "-:--:--" in text
    assert text.rstrip().endswith("…")


def test_a_slow_control_is_announced_by_its_name_and_not_by_a_digest() -> None:
    trial = PlannedTrial("1", "t", None, "wrong+86fde063", 2, "trials/t/wrong-half-done.2")
    assert ControlsShown().running(trial) == "t: wrong/half-done #2"
    assert Shown().running(trial) == "t [wrong+86fde063] #2"
