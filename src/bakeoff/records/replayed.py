"""``replay.json`` of a trial that was answered from a recording: what was used of it, and whether it came out as recorded."""

from __future__ import annotations

from msgspec import Struct

from bakeoff.records.replays import ReplayReport
from bakeoff.records.results import SCHEMA_VERSION


class TrialReplay(Struct, frozen=True, kw_only=True):
    """The whole of ``replay.json``. ``modified``: the fixture is not what its recorder wrote.

    ``recorded_outcome`` and ``recorded_reward`` stand in the fixture's provenance, ``sha256`` is its digest there.
    """

    schema_version: str = SCHEMA_VERSION
    sha256: str
    modified: bool = False
    recorded_outcome: str
    recorded_reward: float | None = None
    report: ReplayReport


class ReplayedTrial(Struct, frozen=True, kw_only=True):
    """One line of what ``bakeoff replay`` says: a trial beside its recording. ``same``: outcome and reward are as recorded."""

    task: str
    config: str
    attempt: int
    recorded_outcome: str
    recorded_reward: float | None
    outcome: str
    reward: float | None
    same: bool
    served: int = 0
    unused: int = 0
    detail: str = ""
    difference: str = ""
    path: str = ""


class ReplayedJob(Struct, frozen=True, kw_only=True):
    """The whole of ``bakeoff replay --json``."""

    schema_version: str = SCHEMA_VERSION
    subject: str
    job: str
    complete: bool
    same: bool
    trials: tuple[ReplayedTrial, ...]
