"""bakeoff: did my agent really get better?

``await bakeoff.run(bakeoff.RunRequest(...))``, or ``bakeoff.run_sync`` without an event loop; then ``report`` and ``compare``.
Everything is loaded when it is first named, so that ``import bakeoff`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bakeoff.api import check, compare, plan, report, results, resume, resume_sync, run, run_sync
    from bakeoff.errors import BakeoffError, InputError
    from bakeoff.executors.job import JobEnd
    from bakeoff.records.job import AgentRequest, JobRecord, RunRequest
    from bakeoff.records.outcomes import Flag, Outcome
    from bakeoff.records.results import TrialResult

_WHERE = {
    **dict.fromkeys(
        ("check", "compare", "plan", "report", "resume", "resume_sync", "run", "results", "run_sync"), "bakeoff.api"
    ),
    **dict.fromkeys(("BakeoffError", "InputError"), "bakeoff.errors"),
    "JobEnd": "bakeoff.executors.job",
    **dict.fromkeys(("AgentRequest", "JobRecord", "RunRequest"), "bakeoff.records.job"),
    **dict.fromkeys(("Flag", "Outcome"), "bakeoff.records.outcomes"),
    "TrialResult": "bakeoff.records.results",
}

__all__ = [
    "AgentRequest",
    "BakeoffError",
    "Flag",
    "InputError",
    "JobEnd",
    "JobRecord",
    "Outcome",
    "RunRequest",
    "TrialResult",
    "check",
    "compare",
    "plan",
    "report",
    "results",
    "resume",
    "resume_sync",
    "run",
    "run_sync",
]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'bakeoff' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
