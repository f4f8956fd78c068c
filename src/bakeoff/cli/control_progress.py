"""What one sees of controls while they run: whether they ended as they had to, since most of them have to fail."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from bakeoff.checks.controls import as_control
from bakeoff.cli.progress import Shown
from bakeoff.records.job import PlannedTrial
from bakeoff.records.results import TrialResult
from bakeoff.reports.layout import printable


class ControlsShown(Shown):
    """Counts controls that ended as expected, and those that did not."""

    def add(self, result: TrialResult) -> None:
        if as_control(result, Path()).ok:
            self.passed += 1
        else:
            self.failed += 1

    def __str__(self) -> str:
        return f"{self.passed} as expected" + (f" · {self.failed} not" if self.failed else "")

    def line(self, result: TrialResult, *, with_config: bool) -> str:
        control = as_control(result, Path())
        how = f"{printable(control.task)}: {control.name} #{control.attempt} {control.got}"
        why = f", and should have {'passed' if control.expected == 'passed' else 'failed'}"
        detail = f": {printable(control.detail)}" if control.detail and not control.ok else ""
        return f"{'ok' if control.ok else 'BAD':<4} {how}" + ("" if control.ok else why + detail)

    def running(self, trial: PlannedTrial) -> str:
        """By the control's name, which its folder has; the config's slug has only a digest of a wrong solution's name."""
        control = PurePosixPath(trial.path).name.rpartition(".")[0]
        if control.startswith("wrong-"):
            control = control.replace("-", "/", 1)
        return f"{printable(trial.task)}: {control} #{trial.attempt}"

    def loud(self, result: TrialResult) -> bool:
        return not as_control(result, Path()).ok
