"""What stands beside a trial's recorded exchanges: their provenance, and the trajectory that they come to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from bakeoff.files.atomic import write_json
from bakeoff.records.exchanges import FixtureAgent, Provenance
from bakeoff.records.results import TrialResult
from bakeoff.tasks.model import Task
from bakeoff.trials.spec import TrialSpec

if TYPE_CHECKING:
    from bakeoff.gateway.recording import Recorded

FIXTURE = "fixture"
"""The folder of a trial with its recorded traffic."""

TRAJECTORY = "trajectory.json"


def prompt_digest(task: Task) -> str:
    """Of the instructions of all steps."""
    return hashlib.sha256("\0".join(step.instruction for step in task.steps).encode()).hexdigest()


def toggles_of(task: Task, skills: str | None) -> dict[str, str]:
    """What can be switched on or off for a task, as it was. A task without skills has no such switch."""
    return {"skills": "off" if skills == "off" else "on"} if task.environment.skills_dir else {}


def provenance_of(
    spec: TrialSpec,
    task: Task,
    result: TrialResult,
    recorded: Recorded,
    *,
    provider: str,
    roots: Mapping[str, str],
    fixture: Provenance | None,
    clean: Callable[[str], str],
) -> Provenance:
    """``fixture`` is what was replayed, where that is so: the recording of a replay is made of it.

    ``clean`` takes secrets out of a text: a key in a command line makes a recording that cannot be run again, and tells nobody the key.
    """
    agent = spec.config.agent
    return Provenance(
        sha256=recorded.digest,
        dataset=task.dataset,
        data_revision=spec.data_revision,
        task=task.name,
        case=task.case,
        task_digest=task.digest,
        verifier_digest=task.verifier.digest,
        prompt_sha256=prompt_digest(task),
        agent=FixtureAgent(
            name=result.config.agent,
            version=result.config.agent_version,
            digest=spec.config.digest,
            command=None if agent.command is None else clean(agent.command),
            where=agent.where,
            files=agent.files,
            options={name: clean(value) for name, value in agent.options.items()},
            definition=agent.name if agent.name != result.config.agent else "",
        ),
        model=result.config.model,
        model_options={name: clean(value) for name, value in spec.settings.model_options.items()},
        provider=provider,
        bakeoff=version("bakeoff"),
        image_digest=result.digests.image,
        backend=result.backend,
        network=result.network,
        verify=result.verify,
        toggles=toggles_of(task, result.config.skills),
        roots=dict(roots),
        captured_at=result.finished_at,
        outcome=str(result.outcome),
        reward=result.reward,
        exchanges=recorded.exchanges,
        redactions=recorded.redactions,
        source=f"replay of {fixture.sha256}" if fixture else "",
    )


def write_beside(folder: Path, result: TrialResult, provenance: Provenance) -> None:
    """Write ``provenance.json`` into the trial's fixture, and ``trajectory.json`` beside that, as far as anything was said."""
    from bakeoff.gateway.exports.facts import of_result
    from bakeoff.gateway.exports.reading import pairs
    from bakeoff.gateway.exports.trajectory import Nothing, trajectory
    from bakeoff.records.fixtures import read_fixture
    from bakeoff.records.provenance import write_provenance

    write_provenance(folder / FIXTURE, provenance)
    try:
        written = trajectory(of_result(result, provenance), pairs(read_fixture(folder / FIXTURE)))
    except Nothing:
        return
    write_json(folder / TRAJECTORY, written)
