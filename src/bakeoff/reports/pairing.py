"""Which trials of two jobs may be compared: the same task (and case), by the same verifier; and what else differed."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, field

from bakeoff.errors import InputError, nearest
from bakeoff.evidence.pairs import Pair
from bakeoff.records.outcomes import Flag, Outcome
from bakeoff.records.results import TrialResult
from bakeoff.reports.facts import UNCATEGORISED

PASSED = "passed"
REWARD = "reward"


class Side(Struct):
    """One task in one job: the value of each scored attempt, and what is known of its conditions."""

    category: str
    values: list[float] = field(default_factory=lambda: list[float]())
    excluded: list[str] = field(default_factory=lambda: list[str]())
    conditions: dict[str, set[str]] = field(default_factory=lambda: dict[str, set[str]]())

    @property
    def broken(self) -> int:
        """Excluded attempts that a gate counts as failed."""
        return sum(reason.partition(":")[0] != Outcome.SKIPPED for reason in self.excluded)


class JobSide(Struct, frozen=True):
    """One job as a side of a comparison; ``tasks`` by ref."""

    job: str
    metric: str
    tasks: dict[str, Side]


class Dropped(Struct, frozen=True):
    """A task that could not be compared."""

    task: str
    reason: str


class Mismatch(Struct, frozen=True):
    """A condition that was not the same on both sides. ``dropped``: so different that the task is not compared."""

    task: str
    field: str
    base: str
    candidate: str
    dropped: bool


class Pairing(Struct, frozen=True):
    """``pairs`` have a scored attempt on both sides. ``harsh`` are the same with the candidate's excluded attempts (but not skipped ones)
    as failures; it is empty where there are none."""

    pairs: list[Pair]
    harsh: list[Pair]
    dropped: list[Dropped]
    mismatches: list[Mismatch]
    categories: dict[str, str]


_MUST_AGREE = ("task digest", "verifier digest")


def read_side(trials: Iterable[TrialResult], *, job: str, metric: str = PASSED, config: str | None = None) -> JobSide:
    """One job's values by task. ``metric`` is ``passed`` (1 or 0), ``reward``, or the name of one of the rewards.

    A scored trial without any reward (the agent ran out of time, say, or tampered) has 0 by every metric. ``config`` picks one config by
    its slug. Raises InputError where the job has several configs and none is picked, or no trial has the metric.
    """
    tasks: dict[str, Side] = {}
    configs: set[str] = set()
    names: set[str] = set()
    found = False
    for trial in trials:
        configs.add(trial.config.slug)
        if config is not None and trial.config.slug != config:
            continue
        side = tasks.setdefault(trial.ref, Side(trial.category or UNCATEGORISED))
        _note_conditions(side, trial)
        names.update(trial.rewards)
        if trial.excluded or trial.passed is None:
            side.excluded.append(f"{trial.outcome}: {trial.detail}" if trial.detail else trial.outcome)
            continue
        value, measured = _value(trial, metric)
        found |= measured
        if value is None:
            side.excluded.append(f"no reward named {metric}")
        else:
            side.values.append(value)
    _check_config(job, configs, config)
    if metric != PASSED and tasks and not found:
        known = (PASSED, REWARD, *sorted(names - {REWARD}))
        raise InputError(
            "no trial has this metric",
            where=job,
            field="--metric",
            found=metric,
            wanted=f"one of {', '.join(known)}",
            nearest=nearest(metric, known),
        )
    return JobSide(job, metric, tasks)


def _value(trial: TrialResult, metric: str) -> tuple[float | None, bool]:
    """A scored trial's value, and whether it was measured (else it follows from the outcome)."""
    if metric == PASSED:
        return float(bool(trial.passed)), True
    measured = trial.reward if metric == REWARD else trial.rewards.get(metric)
    if trial.outcome is Outcome.TAMPERED or (measured is None and not trial.rewards and trial.reward is None):
        return 0.0, False
    return measured, measured is not None


def _check_config(job: str, configs: set[str], config: str | None) -> None:
    known = ", ".join(sorted(configs))
    if config is not None and config not in configs:
        raise InputError(
            "the job has no such config",
            where=job,
            found=config,
            wanted=f"one of {known}",
            nearest=nearest(config, configs),
        )
    if config is None and len(configs) > 1:
        raise InputError(
            "the job has several configs, and a comparison is between two",
            where=job,
            found=known,
            wanted="a job of one config, or one of these by name",
        )


def _note_conditions(side: Side, trial: TrialResult) -> None:
    conditions = {
        "task digest": trial.digests.task,
        "verifier digest": trial.digests.verifier,
        "image digest": trial.digests.image,
        "backend": trial.backend,
        "network": trial.network,
        "verify": trial.verify,
        "agent_timeout_sec": _number(trial.limits.agent_timeout_sec),
        "verifier_timeout_sec": _number(trial.limits.verifier_timeout_sec),
        "answers of the model": "recorded" if Flag.REPLAYED in trial.flags else "live",
    }
    for name, value in conditions.items():
        side.conditions.setdefault(name, set()).add(value)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def pair_up(base: JobSide, candidate: JobSide) -> Pairing:
    """Pair the tasks of two jobs, each by name; say which were dropped and why, and which conditions differ."""
    out = Pairing([], [], [], [], {})
    broken = 0
    for task in sorted(base.tasks.keys() | candidate.tasks.keys()):
        left, right = base.tasks.get(task), candidate.tasks.get(task)
        if left is None or right is None:
            out.dropped.append(Dropped(task, "missing in base" if left is None else "missing in candidate"))
            continue
        different = _mismatches(task, left, right)
        out.mismatches.extend(different)
        fatal = [mismatch.field for mismatch in different if mismatch.dropped]
        if fatal:
            out.dropped.append(Dropped(task, f"{' and '.join(fatal)} differ{'s' if len(fatal) == 1 else ''}"))
            continue
        for name, side in (("base", left), ("candidate", right)):
            if not side.values:
                out.dropped.append(Dropped(task, f"excluded in {name}: {'; '.join(sorted(set(side.excluded)))}"))
                break
        else:
            out.pairs.append(Pair(task, tuple(left.values), tuple(right.values)))
        out.categories[task] = right.category
        broken += right.broken if left.values else 0
        counted = (*right.values, *[0.0] * right.broken)
        if left.values and counted:
            out.harsh.append(Pair(task, tuple(left.values), counted))
    if not broken:
        out.harsh.clear()
    return out


def _mismatches(task: str, left: Side, right: Side) -> list[Mismatch]:
    return [
        Mismatch(task, name, _words(values), _words(right.conditions[name]), name in _MUST_AGREE)
        for name, values in left.conditions.items()
        if values != right.conditions[name]
    ]


def _words(values: set[str]) -> str:
    return ", ".join(value or "not known" for value in sorted(values))
