"""The plan of a job that replays recorded traffic: a trial for each fixture, under the config that it was recorded with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from glob import escape
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from bakeoff.errors import InputError, InputErrors, nearest
from bakeoff.gateway.replay.declared import volatile_for
from bakeoff.gateway.replay.suits import Wanted, check_suits
from bakeoff.records.exchanges import Provenance
from bakeoff.records.fixtures import find_fixtures
from bakeoff.records.job import AgentRequest, LockedConfig, PlannedTrial, RunRequest
from bakeoff.records.journal import JOB, read_job, read_results
from bakeoff.records.provenance import read_provenance
from bakeoff.tasks.model import Task
from bakeoff.trials.configs import lock_config
from bakeoff.trials.provenance import FIXTURE, prompt_digest, toggles_of


class Recorded(Struct, frozen=True):
    """A fixture on this machine, and what stands in its provenance."""

    folder: str
    provenance: Provenance

    @property
    def ref(self) -> str:
        case = self.provenance.case
        return f"{self.provenance.task}@{case}" if case else self.provenance.task


def find_recorded(path: str | Path) -> tuple[Recorded, ...]:
    """Every fixture of a job, of a trial, or below a folder. Raises InputError where there is none, or one cannot be read."""
    folders = list(_folders(Path(path).absolute()))
    if not folders:
        raise InputError(
            "no recorded traffic there",
            where=str(path),
            wanted="a job or trial that was run with a model, a fixture (exchanges.jsonl and provenance.json), or a tree of them",
        )
    return tuple(Recorded(str(folder), _provenance(folder)) for folder in folders)


def _provenance(folder: Path) -> Provenance:
    found = read_provenance(folder)
    if found is None:
        raise InputError(
            "nothing says what this was recorded from",
            where=str(folder),
            wanted="a provenance.json, as recordings have",
        )
    return found


def job_around(path: Path) -> Path | None:
    """The job that a folder is, or lies in."""
    path = path.absolute()
    return next((folder for folder in (path, *path.parents) if (folder / JOB).is_file()), None)


def _folders(path: Path) -> Iterator[Path]:
    job = job_around(path)
    if job is None:
        yield from find_fixtures(path)
        return
    for result in read_results(job):  # earlier tries of a trial have fixtures too, which nobody means
        folder = job / result.path
        if path in (folder, folder / FIXTURE, *folder.parents) and (folder / FIXTURE).is_dir():
            yield folder / FIXTURE


def agent_request(provenance: Provenance) -> AgentRequest:
    """What makes the recorded agent again."""
    agent = provenance.agent
    return AgentRequest(
        name=agent.definition or agent.name,
        command=agent.command,
        where=agent.where,
        files=agent.files,
        options=agent.options,
    )


def plan_replays(
    job_id: str, request: RunRequest, tasks: Mapping[str, Task], recorded: Sequence[Recorded]
) -> tuple[dict[str, LockedConfig], tuple[PlannedTrial, ...], dict[str, str]]:
    """Configs, trials and the digests of the fixtures that they replay.

    Agents and models that the request names choose among the fixtures; without any, all are replayed. Attempt k of a task under
    a config takes its k-th fixture, and begins again after the last. Raises InputErrors for a task without a fixture, and for
    a fixture that was recorded with something else.
    """
    chosen = [one for one in recorded if one.ref in tasks and _asked_for(one.provenance, request)]
    _check_names(request, tasks, recorded, chosen)
    configs: dict[str, LockedConfig] = {}
    groups: dict[tuple[str, str], list[Recorded]] = {}
    findings: list[InputError] = []
    for one in chosen:
        config = _config(one.provenance, request)
        slug = config.config.slug
        configs.setdefault(slug, config)
        groups.setdefault((one.ref, slug), []).append(one)
        try:
            notes_of(one, tasks[one.ref], config, request)
        except InputError as error:
            findings.append(error)
    if findings:
        raise InputErrors(findings, hint="Record a new fixture, or replay with what this one was recorded with.")
    trials = tuple(_trials(job_id, request, tasks, groups))
    return configs, trials, {one.folder: one.provenance.sha256 for one in chosen}


def notes_of(recorded: Recorded, task: Task, config: LockedConfig, request: RunRequest) -> tuple[str, ...]:
    """What about a replay is not as it was recorded, and may be so. Raises InputErrors for what may not."""
    provenance = recorded.provenance
    notes = check_suits(recorded.folder, provenance, _wanted(provenance, task, config, request))
    agent = provenance.agent
    data = volatile_for(agent.name, agent.version)
    if data.covers(agent.version):
        return notes
    known = ", ".join(data.versions)
    return (
        *notes,
        f"what differs between runs of {agent.name} is known of {known}, not of {agent.version or 'this one'}",
    )


def _trials(
    job_id: str, request: RunRequest, tasks: Mapping[str, Task], groups: Mapping[tuple[str, str], Sequence[Recorded]]
) -> Iterator[PlannedTrial]:
    number = 0
    for attempt in range(1, max([request.attempts, *(len(group) for group in groups.values())]) + 1):
        for (ref, slug), group in groups.items():
            if attempt > max(request.attempts, len(group)):
                continue
            number += 1
            task = tasks[ref]
            yield PlannedTrial(
                run_id=f"{job_id}-{number:05d}",
                task=task.name,
                case=task.case,
                config=slug,
                attempt=attempt,
                path=f"trials/{task.slug}/{slug}.{attempt}",
                fixture=group[(attempt - 1) % len(group)].folder,
            )


def replay_request(
    path: Path,
    *,
    datasets: tuple[str, ...] = (),
    tasks: tuple[str, ...] = (),
    match: Literal["strict", "normalised", "sequential"] = "normalised",
    timed: bool = False,
    until: int | None = None,
    models: tuple[str, ...] = (),
    model_base_url: str | None = None,
    concurrency: int | None = None,
    backend: str | None = None,
) -> RunRequest:
    """The request that runs every trial that was recorded at ``path`` once more.

    The trials of a job keep all that the job had asked for; those of other fixtures are looked for in the dataset that their
    provenance names, unless ``datasets`` or ``tasks`` say where they are.
    """
    recorded = find_recorded(path)
    job = job_around(path)
    if job is not None:
        base = msgspec.structs.replace(read_job(job).request, agents=(), models=(), attempts=1, limit=None)
    else:
        backends = {one.provenance.backend for one in recorded} - {""}
        base = RunRequest(
            datasets=tuple(sorted({one.provenance.dataset for one in recorded})),
            backend=backends.pop() if len(backends) == 1 else "bubblewrap",
        )
    if datasets or tasks:
        base = msgspec.structs.replace(base, datasets=datasets, tasks=tasks)
    return msgspec.structs.replace(
        base,
        include=tuple(sorted({escape(one.ref) for one in recorded})),
        exclude=(),
        categories=(),
        skip_invalid=True,
        replay=str(path),
        match=match,
        timed=timed,
        until=until,
        models=models,
        model_base_url=model_base_url,
        backend=backend or base.backend,
        concurrency=concurrency or 0,
    )


def _asked_for(provenance: Provenance, request: RunRequest) -> bool:
    by_model = not request.models or request.until is not None or provenance.model in request.models
    return by_model and (not request.agents or any(_is(agent, provenance) for agent in request.agents))


def _is(agent: AgentRequest, provenance: Provenance) -> bool:
    return agent.name in (provenance.agent.name, provenance.agent.definition)


def _wanted(provenance: Provenance, task: Task, config: LockedConfig, request: RunRequest) -> Wanted:
    """What this trial's own recording would say. With ``--until`` the agent goes on asking for the recorded model."""
    return Wanted(
        task=task.name,
        case=task.case,
        task_digest=task.digest,
        prompt_sha256=prompt_digest(task),
        agent=config.config.agent,
        agent_version=config.config.agent_version,
        agent_digest=config.digest,
        model=provenance.model if request.until is not None else config.config.model,
        toggles=toggles_of(task, config.config.skills),
    )


def _config(provenance: Provenance, request: RunRequest) -> LockedConfig:
    own = next((agent for agent in request.agents if _is(agent, provenance)), None)
    model = request.models[0] if request.until is not None and request.models else None
    return lock_config(
        own or agent_request(provenance),
        model,
        label=provenance.model if model is None else None,
        skills=provenance.toggles.get("skills"),
        options=provenance.model_options,
        base_url=request.model_base_url,
    )


def _check_names(
    request: RunRequest, tasks: Mapping[str, Task], recorded: Sequence[Recorded], chosen: Sequence[Recorded]
) -> None:
    where = f"--replay {request.replay}"
    agents = sorted({one.provenance.agent.name for one in recorded})
    for agent in request.agents:
        if not any(_is(agent, one.provenance) for one in recorded):
            raise InputError(
                "no fixture of this agent",
                where=where,
                found=agent.name,
                wanted=", ".join(agents),
                nearest=nearest(agent.name, agents),
            )
    models = sorted({one.provenance.model or "" for one in recorded})
    for model in request.models if request.until is None else ():
        if model not in models:
            raise InputError(
                "no fixture of this model",
                where=where,
                found=model,
                wanted=", ".join(models),
                nearest=nearest(model, models),
            )
    found = {one.ref for one in chosen}
    if missing := [ref for ref in tasks if ref not in found]:
        few = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise InputError(
            "no fixture for a task", where=where, found=few, wanted="-i for the tasks that have one, or record them"
        )
