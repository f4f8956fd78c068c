"""What one sees of a job while it runs, on standard error: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from bakeoff.executors.base import Listener
from bakeoff.records.job import PlannedTrial
from bakeoff.records.outcomes import Outcome
from bakeoff.records.results import TrialResult
from bakeoff.reports.layout import counted, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

SLOW_SEC = 5.0
"""A trial that runs this long is announced on plain output; quicker ones are known by their end alone."""

_WORDS = {
    Outcome.PASSED: "pass",
    Outcome.FAILED: "fail",
    Outcome.AGENT_TIMEOUT: "time-out",
    Outcome.VERIFIER_TIMEOUT: "time-out",
    Outcome.SKIPPED: "skip",
    Outcome.REFUSED: "refused",
}


class Shown:
    """What is shown of finished trials: how they are counted, and the line on one. ``loud``: it stays above a live line."""

    def __init__(self) -> None:
        self.passed: int = 0
        self.failed: int = 0
        self.other: int = 0

    def add(self, result: TrialResult) -> None:
        if result.passed:
            self.passed += 1
        elif result.passed is None:
            self.other += 1
        else:
            self.failed += 1

    def __str__(self) -> str:
        return f"{self.passed} passed · {self.failed} failed" + (f" · {self.other} other" if self.other else "")

    def line(self, result: TrialResult, *, with_config: bool) -> str:
        return line(result, with_config=with_config)

    def running(self, trial: PlannedTrial) -> str:
        """What a trial is called while it runs."""
        name = f"{trial.task}@{trial.case}" if trial.case else trial.task
        return f"{name} [{trial.config}] #{trial.attempt}"

    def loud(self, result: TrialResult) -> bool:
        return result.outcome not in (Outcome.PASSED, Outcome.FAILED)


@contextmanager
def progress(*, quiet: bool, shown: Shown | None = None) -> Generator[Listener]:
    """A listener for one job: silent, live or plain, whichever fits standard error. Everything it shows is gone or flushed at the end."""
    if quiet:
        yield Quiet()
    elif sys.stderr.isatty():
        live = Live(shown or Shown())
        with live:
            yield live
    else:
        yield Plain(shown or Shown())


def word(outcome: Outcome) -> str:
    """An outcome in one short word."""
    return _WORDS.get(outcome, "error")


def line(result: TrialResult, *, with_config: bool) -> str:
    """A finished trial on one line: how it ended, task, seconds, and why where that is not plain."""
    name = f"{result.ref} [{result.config.slug}]" if with_config else result.ref
    if result.attempt > 1:
        name += f" #{result.attempt}"
    why = result.detail or ("" if result.outcome in (Outcome.PASSED, Outcome.FAILED) else str(result.outcome))
    seconds = sum(result.phases.values())
    return f"{word(result.outcome):<8} {printable(name)}  {seconds:.1f} s" + (f"  {printable(why)}" if why else "")


class Quiet:
    """Says only what must not be missed."""

    def planned(self, total: int, done: int) -> None: ...
    def started(self, trial: PlannedTrial) -> None: ...
    def finished(self, result: TrialResult) -> None: ...

    def note(self, text: str) -> None:
        click.echo(text, err=True)


class Plain:
    """A line for each trial that ended, and one for each that has been running for long."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown
        self._configs: set[str] = set()
        self._waiting: dict[str, asyncio.TimerHandle] = {}

    def planned(self, total: int, done: int) -> None:
        click.echo(counted(total, "trial") + (f", {done} finished before" if done else ""), err=True)

    def started(self, trial: PlannedTrial) -> None:
        self._configs.add(trial.config)
        loop = asyncio.get_running_loop()
        self._waiting[trial.run_id] = loop.call_later(SLOW_SEC, self._still_running, trial)

    def finished(self, result: TrialResult) -> None:
        if waiting := self._waiting.pop(result.run_id, None):
            waiting.cancel()
        click.echo(self._shown.line(result, with_config=len(self._configs) > 1), err=True)

    def note(self, text: str) -> None:
        click.echo(text, err=True)

    def _still_running(self, trial: PlannedTrial) -> None:
        click.echo(f"{'start':<8} {self._shown.running(trial)}  running for {SLOW_SEC:.0f} s", err=True)


def live_bar(total: int, console: Console) -> Progress:
    """The columns of the live line. On a narrow terminal the names of what runs give way, and never a number."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    return Progress(
        MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=2 * len(str(total)) + 1)),
        BarColumn(bar_width=12, table_column=Column(no_wrap=True, min_width=4)),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
        TextColumn(
            "{task.fields[running]}",
            markup=False,
            style="dim",
            table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
        ),
        console=console,
        refresh_per_second=4,
        transient=True,
        expand=True,
    )


class Live:
    """A bar with counts, rate and time left, and under it what runs now. Trials that ended badly stay above it as lines."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown
        self._running: dict[str, str] = {}
        self._began = 0.0
        self._here = 0
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def planned(self, total: int, done: int) -> None:
        from rich.console import Console

        self._began = time.monotonic()
        self._bar = live_bar(total, Console(stderr=True))
        self._task = self._bar.add_task(str(self._shown), total=total, completed=done, running="")
        self._bar.start()

    def started(self, trial: PlannedTrial) -> None:
        self._running[trial.run_id] = f"{trial.task}@{trial.case}" if trial.case else trial.task
        self._show()

    def finished(self, result: TrialResult) -> None:
        self._running.pop(result.run_id, None)
        self._shown.add(result)
        self._here += 1
        if self._bar is not None and self._shown.loud(result):
            self._bar.console.print(self._shown.line(result, with_config=True), markup=False, highlight=False)
        self._show(advance=1)

    def note(self, text: str) -> None:
        if self._bar is None:
            click.echo(text, err=True)
        else:
            self._bar.console.print(text, markup=False, highlight=False)

    def _show(self, advance: int = 0) -> None:
        if self._bar is None or self._task is None:
            return
        seconds = time.monotonic() - self._began
        rate = f" · {self._here / seconds:.1f}/s" if self._here and seconds > 0 else ""
        running = ", ".join(list(self._running.values())[:3])
        more = len(self._running) - 3
        self._bar.update(
            self._task,
            advance=advance,
            description=f"{self._shown}{rate}",
            running=running + (f" and {more} more" if more > 0 else ""),
        )
