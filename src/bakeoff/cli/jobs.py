"""Jobs and trials as users name them: a folder, or a name."""

from __future__ import annotations

import re
from pathlib import Path

from bakeoff.errors import InputError, nearest
from bakeoff.records.journal import JOB, read_results
from bakeoff.records.results import TrialResult

_TRIAL = re.compile(r"(?P<job>.+?):(?P<task>[^:@]+)(?:@(?P<case>[^:@]+))?(?::(?P<attempt>[0-9]{1,9}))?")


def find_job(name: str, out: str) -> Path:
    """The job folder at ``name``, or of that name under ``out``. Raises InputError where neither is one."""
    for folder in (Path(name), Path(out) / name):
        if (folder / JOB).is_file():
            return folder
    if Path(name).is_dir():
        raise InputError("not a job folder", where=name, wanted=f"a folder with a {JOB}")
    others = [folder.parent.name for folder in Path(out).glob(f"*/{JOB}")]
    raise InputError(
        "no such job", where=name, wanted=f"a job folder, or a name under {out}", nearest=nearest(name, others)
    )


def find_side(name: str, out: str) -> str:
    """The job (or job and config, ``JOB:CONFIG``) that ``name`` means, with the job as a folder."""
    job, found, config = name.rpartition(":")
    if not found or (Path(name) / JOB).is_file() or (Path(out) / name / JOB).is_file():
        return str(find_job(name, out))
    return f"{find_job(job, out)}:{config}"


def find_trials(name: str, out: str) -> tuple[Path, list[TrialResult]]:
    """The job's folder and the trials that ``name`` means: a trial's folder, or ``JOB:TASK[@CASE][:ATTEMPT]`` (one for each config).

    Raises InputError where that is no finished trial.
    """
    folder = Path(name).absolute()
    if folder.is_dir():
        job = next((parent for parent in folder.parents if (parent / JOB).is_file()), None)
        if job is None:
            raise InputError(
                "not a trial's folder: no job is around it", where=name, wanted="JOB/trials/TASK/CONFIG.ATTEMPT"
            )
        path = folder.relative_to(job).as_posix()
        found = [result for result in read_results(job) if result.path == path]
        if not found:
            raise InputError("no finished trial has this folder", where=name, wanted="one that results.jsonl names")
        return job, found
    match = _TRIAL.fullmatch(name)
    if match is None:
        raise InputError("not a trial", where=name, wanted="a trial's folder, or JOB:TASK[@CASE][:ATTEMPT]")
    job = find_job(match["job"], out)
    ref = f"{match['task']}@{match['case']}" if match["case"] else match["task"]
    results = list(read_results(job))
    same_task = [result for result in results if result.ref == ref]
    if not same_task:
        known = nearest(ref, {result.ref for result in results})
        raise InputError("no finished trial of this task", where=name, found=ref, nearest=known)
    attempt = match["attempt"]
    found = [result for result in same_task if attempt is None or result.attempt == int(attempt)]
    if not found:
        attempts = ", ".join(sorted({str(result.attempt) for result in same_task}))
        raise InputError("no such attempt", where=name, found=str(attempt), wanted=attempts)
    return job, found


def find_recorded(name: str, out: str) -> Path:
    """The folder that ``name`` means to ``replay``: a job, a trial, a fixture, or a tree of them."""
    folder = Path(name)
    if folder.is_dir():
        return folder
    if _TRIAL.fullmatch(name) is None:
        return find_job(name, out)
    job, trials = find_trials(name, out)
    paths = sorted({result.path for result in trials})
    return job / (paths[0] if len(paths) == 1 else Path(paths[0]).parent)
