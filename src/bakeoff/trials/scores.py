"""``run.json`` and ``score.json`` of a finished try."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bakeoff.agents.base import Agent
from bakeoff.files.atomic import write_json
from bakeoff.files.streams import read_part
from bakeoff.records.outcomes import status
from bakeoff.records.results import TrialResult
from bakeoff.records.run import (
    Component,
    RunCommand,
    RunRecord,
    RunValidity,
    ScoreMetadata,
    ScoreRecord,
)
from bakeoff.sandboxes.base import Exit
from bakeoff.tasks.model import Task
from bakeoff.trials.bench import SNIPPET
from bakeoff.trials.spec import TrialSpec
from bakeoff.verifiers.base import Verdict


def write_run(folder: Path, spec: TrialSpec, task: Task, agent: Agent, result: TrialResult, ended: Exit | None) -> None:
    """``ended`` is how the agent's last command ended, if it was one."""
    code = None
    if ended is not None:
        code = ended.code if ended.signal is None else -ended.signal
    record = RunRecord(
        run_id=result.run_id,
        task_id=task.name,
        case_id=task.case,
        task_version=task.version or task.digest[:12],
        task_name=task.name,
        agent_config_id=result.config.slug,
        agent_config_hash=_config_hash(result),
        agent_cmd_hash=agent.digest,
        started_at=result.started_at,
        completed_at=result.finished_at,
        status=status(result.outcome),
        outcome=result.outcome,
        detail=result.detail,
        success=result.passed,
        score=_score(result.reward),
        reward=result.reward,
        timeout_seconds=result.limits.agent_timeout_sec,
        command=RunCommand(
            returncode=code,
            agent_cmd_redacted=agent.command,
            stdout_snippet=_snippet(folder / "agent" / "stdout"),
            stderr_snippet=_snippet(folder / "agent" / "stderr"),
        ),
        model_name=result.model,
        seed=spec.settings.seed,
        phases=result.phases,
        usage=result.usage,
        limits=result.limits,
        digests=result.digests,
        sandbox={"backend": result.backend, "network": result.network, "verify": result.verify},
        flags=result.flags,
    )
    write_json(folder / "run.json", record)


def write_score(folder: Path, task: Task, result: TrialResult, verdicts: Sequence[Verdict]) -> None:
    """``verdicts`` of the steps in order; components of a multi-step task carry their step's number."""
    components: dict[str, Component] = {}
    for number, verdict in enumerate(verdicts, 1):
        prefix = f"{number}." if len(task.steps) > 1 else ""
        components.update({f"{prefix}{name}": component for name, component in verdict.components.items()})
    validity = None
    if result.excluded:
        validity = RunValidity(
            valid=False, category=status(result.outcome), reason=result.detail, diagnostic_code=str(result.outcome)
        )
    record = ScoreRecord(
        run_id=result.run_id,
        task_id=task.name,
        case_id=task.case,
        task_version=task.version or task.digest[:12],
        scorer_version=result.digests.verifier,
        agent_config_id=result.config.slug,
        agent_config_hash=_config_hash(result),
        success=result.passed,
        score=_score(result.reward),
        reward=result.reward,
        rewards=result.rewards,
        pass_threshold=task.verifier.pass_threshold,
        components=components,
        policy_violations=tuple(name for verdict in verdicts for name in verdict.violations),
        errors=tuple(verdict.detail for verdict in verdicts if verdict.fault),
        artifact_hashes=_artifact_hashes(folder / "artifacts"),
        metadata=ScoreMetadata(latency_seconds=result.phases.get("agent"), cost_usd=result.usage.cost_usd),
        run_validity=validity,
    )
    write_json(folder / "score.json", record)


def _config_hash(result: TrialResult) -> str:
    return hashlib.sha256(msgspec.json.encode(result.config)).hexdigest()


def _score(reward: float | None) -> float | None:
    return reward if reward is not None and 0 <= reward <= 1 else None


def _snippet(path: Path) -> str:
    return read_part(path, SNIPPET).decode("utf-8", "replace")


def has_artifacts(folder: Path) -> bool:
    """Whether anything was handed in, into the folder of a trial."""
    try:
        with os.scandir(folder / "artifacts") as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def _artifact_hashes(folder: Path) -> dict[str, str]:
    """Hashes of the regular files below ``folder``, by path relative to it; links are not followed, nor what is too deep for a path."""
    found: dict[str, str] = {}
    todo = [folder]
    while todo:
        here = todo.pop()
        try:
            entries = list(os.scandir(here))
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                todo.append(here / entry.name)
            elif entry.is_file(follow_symlinks=False):
                path = here / entry.name
                with open(path, "rb") as stream:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
                shown = os.fsencode(path.relative_to(folder)).decode("utf-8", "backslashreplace")
                found[shown] = digest
    return dict(sorted(found.items()))
