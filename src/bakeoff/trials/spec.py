"""One trial as data: everything a worker needs to know, and nothing that is live."""

from __future__ import annotations

from msgspec import Struct

from bakeoff.records.job import LockedConfig, PlannedTrial, RunRequest


class TrialSpec(Struct, frozen=True, kw_only=True):
    """``job`` is the job's folder; ``settings`` the request with every default resolved.

    ``data_revision`` is the digest of the task's dataset.
    """

    job: str
    job_id: str
    trial: PlannedTrial
    config: LockedConfig
    settings: RunRequest
    data_revision: str = ""
