"""Whether a fixture was recorded from what is to be replayed."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from bakeoff.errors import InputError, InputErrors
from bakeoff.records.exchanges import Provenance

ALLOWED = ("task", "prompt", "agent", "model", "toggles")
"""What a user may let differ by name."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What a trial is going to be, as the provenance of its own recording would say it."""

    task: str
    task_digest: str
    case: str | None = None
    prompt_sha256: str
    agent: str
    agent_version: str
    agent_digest: str = ""
    model: str | None
    toggles: dict[str, str] = {}


_FIX = {
    "task": "replay it with the task it was recorded from, or record it again",
    "prompt": "the instruction has changed since: record it again",
    "agent": "replay it with that agent in that version, or record it again",
    "model": "ask for the recorded model, or record it again; --until N goes on with another one",
    "toggles": "use the recorded setting, or record it again",
}


def check_suits(
    fixture: str, provenance: Provenance, wanted: Wanted, *, allow: Collection[str] = ()
) -> tuple[str, ...]:
    """Notes for the trial's record: what differs and was let through by its name in ``allow`` (of ``ALLOWED``), what an imported fixture
    does not say, and an agent that is made of something else under the same name and version.

    Raises InputErrors for all else that differs, with what to do. ``fixture`` is its folder.
    """
    unknown = sorted(set(allow) - set(ALLOWED))
    if unknown:
        raise InputError("nothing that may differ", found=", ".join(unknown), wanted=", ".join(ALLOWED))
    refused: list[InputError] = []
    notes: list[str] = []
    for kind, field, recorded, now in _pairs(provenance, wanted):
        if recorded == now:
            continue
        if not recorded and not provenance.raw:
            notes.append(f"the fixture does not say its {field}")
        elif kind in allow:
            notes.append(f"{field} differs from the fixture's: recorded {recorded or 'none'}, now {now or 'none'}")
        else:
            refused.append(
                InputError(
                    f"the fixture was recorded with another one; {_FIX[kind]}",
                    where=fixture,
                    field=field,
                    found=now or "none",
                    wanted=recorded or "none",
                )
            )
    if refused:
        raise InputErrors(refused)
    agent = provenance.agent
    same = (agent.name, agent.version) == (wanted.agent, wanted.agent_version)
    if same and agent.digest and wanted.agent_digest and agent.digest != wanted.agent_digest:
        notes.append(f"the agent {agent.name} is not made of what it was made of when the fixture was recorded")
    return tuple(notes)


def _pairs(provenance: Provenance, wanted: Wanted) -> list[tuple[str, str, str, str]]:
    """What kind of thing, what it is called, what was recorded, what is wanted."""
    agent = provenance.agent
    pairs = [
        ("task", "task", provenance.task, wanted.task),
        ("task", "case", provenance.case or "", wanted.case or ""),
        ("task", "task digest", provenance.task_digest, wanted.task_digest),
        ("prompt", "prompt_sha256", provenance.prompt_sha256, wanted.prompt_sha256),
        ("agent", "agent", agent.name, wanted.agent),
        ("agent", "agent version", agent.version, wanted.agent_version),
        ("model", "model", provenance.model or "", wanted.model or ""),
    ]
    for name in sorted(provenance.toggles.keys() | wanted.toggles.keys()):
        pairs.append(("toggles", name, provenance.toggles.get(name, ""), wanted.toggles.get(name, "")))
    return pairs
