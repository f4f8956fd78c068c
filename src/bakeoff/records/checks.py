"""What ``bakeoff check`` finds, and the evidence that it leaves."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from bakeoff.records.job import LockedTask
from bakeoff.records.results import SCHEMA_VERSION

GateName = Literal["validate", "controls", "leak"]
GATES: tuple[GateName, ...] = ("validate", "controls", "leak")

FixtureGateName = Literal["provenance", "hashes", "answers", "secrets"]
FIXTURE_GATES: tuple[FixtureGateName, ...] = ("provenance", "hashes", "answers", "secrets")


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a task or a fixture. ``file`` is relative to its folder, ``field`` a place in it (a key, or ``line 3``).

    ``message`` says what is wrong and what would be right; it never repeats what a hidden file says.
    """

    task: str
    message: str
    file: str = ""
    field: str = ""


class Control(Struct, frozen=True, kw_only=True):
    """One control trial: ``name`` is ``oracle``, ``nop`` or ``wrong/NAME``; ``got`` is its outcome, in the words of results.

    ``ok``: it ended as expected. ``path`` is the trial's folder, as long as it is kept.
    """

    task: str
    name: str
    attempt: int
    expected: Literal["passed", "not passed"]
    got: str
    ok: bool
    detail: str = ""
    path: str = ""


class Gate(Struct, frozen=True):
    """``ok`` where nothing was found. ``notes`` are worth knowing, and no fault; they have the form of findings."""

    name: GateName | FixtureGateName
    ok: bool
    findings: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()


class CheckReport(Struct, frozen=True, kw_only=True):
    """``check --format json``. ``digest`` is the dataset's, the fixtures' or, where one task was checked, the task's.

    ``evidence`` is the file that was written, empty where none was.
    """

    schema_version: str = SCHEMA_VERSION
    subject: str
    digest: str
    checked_at: str
    ok: bool
    gates: tuple[Gate, ...]
    controls: tuple[Control, ...] = ()
    evidence: str = ""


class TaskEvidence(Struct, frozen=True, kw_only=True):
    """What the checks of one task came to. It speaks for these digests alone.

    ``gates``: whether each held when it was last looked at; a gate that never was is not in there. ``controls``: the outcomes of
    each control, attempt by attempt. ``image`` is the digest of the root that the controls ran on.
    """

    digest: str
    verifier: str
    checked_at: str
    bakeoff: str
    backend: str
    image: str = ""
    gates: dict[GateName, bool] = {}
    controls: dict[str, tuple[str, ...]] = {}

    @property
    def trusted(self) -> bool:
        """Every gate was looked at, and held."""
        return all(self.gates.get(name, False) for name in GATES)


class DatasetEvidence(Struct, frozen=True, kw_only=True):
    """``dataset.evidence.json``: the evidence of a dataset's tasks, by task ref."""

    schema_version: str = SCHEMA_VERSION
    dataset: str
    tasks: dict[str, TaskEvidence] = {}


class DatasetLock(Struct, frozen=True, kw_only=True):
    """``dataset.lock.json``: what a dataset consisted of when all of it was last checked, by task ref."""

    schema_version: str = SCHEMA_VERSION
    dataset: str
    version: str
    digest: str
    tasks: dict[str, LockedTask]
