"""Trials that were replayed, each beside its recording."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bakeoff.errors import InputError
from bakeoff.records.job import JobRecord
from bakeoff.records.journal import planned_results
from bakeoff.records.outcomes import Outcome
from bakeoff.records.replayed import ReplayedJob, ReplayedTrial, TrialReplay
from bakeoff.records.results import TrialResult

REPLAY = "replay.json"
_REPLAY_ENDS = (Outcome.REPLAY_DIVERGED, Outcome.REPLAY_EXHAUSTED)


def compare_replays(folder: Path, job: JobRecord, *, subject: str) -> ReplayedJob:
    """Raises InputError where the record of a trial's replay cannot be read."""
    results = list(planned_results(folder, job))
    trials = tuple(
        _beside(result, read_replay(folder / result.path / REPLAY))
        for result in sorted(results, key=lambda result: result.run_id)
    )
    return ReplayedJob(
        subject=subject,
        job=str(folder),
        complete=len(results) == len(job.plan)
        and not any(result.excluded and result.outcome not in _REPLAY_ENDS for result in results),
        same=all(trial.same for trial in trials),
        trials=trials,
    )


def _beside(result: TrialResult, record: TrialReplay | None) -> ReplayedTrial:
    outcome, reward = (record.recorded_outcome, record.recorded_reward) if record else ("", None)
    return ReplayedTrial(
        task=result.ref,
        config=result.config.slug,
        attempt=result.attempt,
        recorded_outcome=outcome,
        recorded_reward=reward,
        outcome=str(result.outcome),
        reward=result.reward,
        same=(outcome, reward) == (str(result.outcome), result.reward),
        served=record.report.served if record else 0,
        unused=len(record.report.unused) if record else 0,
        detail=result.detail,
        difference=record.report.difference if record else "",
        path=result.path,
    )


def read_replay(path: Path) -> TrialReplay | None:
    """A trial's replay.json; None where the trial came to its end before anything could be replayed. Raises InputError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=TrialReplay)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        raise InputError(f"not the record of a replay: {error}", where=str(path)) from None
