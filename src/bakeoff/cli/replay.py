"""``bakeoff replay``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

import click

from bakeoff.cli.config import config_option
from bakeoff.cli.messages import GATE, HARNESS_FAILED, INCOMPLETE, INTERRUPTED, Choice, error, print_json, say
from bakeoff.errors import InputError
from bakeoff.records.outcomes import Outcome
from bakeoff.records.replayed import ReplayedJob, ReplayedTrial


@click.command("replay", short_help="Run recorded trials again from their traffic: no model, no key.")
@click.argument("subject", metavar="FIXTURE|TRIAL|JOB")
@click.option(
    "-d", "--dataset", multiple=True, metavar="REF", help="Where the tasks are, if not where provenance says."
)
@click.option("-t", "--task", multiple=True, metavar="PATH", help="A task folder, if not where provenance says.")
@click.option(
    "--match",
    type=Choice(["strict", "normalised", "sequential"]),
    default="normalised",
    show_default=True,
    help="How requests are found in what is recorded.",
)
@click.option("--timed", is_flag=True, help="Streams take as long as they took when they were recorded.")
@click.option("--until", type=int, metavar="N", help="Go live after the first N answers of the main conversation.")
@click.option("-m", "--model", metavar="MODEL", help="The model that --until goes on with.")
@click.option("--model-base-url", metavar="URL", help="Where that model is served, in place of its provider.")
@click.option("-n", "--concurrency", type=int, metavar="N", help="Trials at once. Default: one for each core.")
@click.option("-b", "--backend", metavar="NAME", help="What makes sandboxes. Default: as recorded.")
@click.option("-o", "--out", default="jobs", show_default=True, metavar="DIR", help="Where job folders are made.")
@click.option("--name", metavar="NAME", help="The new job's name.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@config_option
def command(
    subject: str,
    dataset: tuple[str, ...],
    task: tuple[str, ...],
    match: Literal["strict", "normalised", "sequential"],
    timed: bool,
    until: int | None,
    model: str | None,
    model_base_url: str | None,
    concurrency: int | None,
    backend: str | None,
    out: str,
    name: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run recorded trials again, answered from their recordings, and say whether each comes out as it did.

    \b
    bakeoff replay fixtures/starter
    bakeoff replay jobs/monday:citation-check
    """
    from bakeoff import api
    from bakeoff.cli.jobs import find_recorded
    from bakeoff.cli.progress import progress

    if (until is None) != (model is None):
        raise InputError(
            "one needs the other", where="bakeoff replay", field="--until, --model", wanted="--until N --model MODEL"
        )
    with progress(quiet=quiet) as listener:
        end = asyncio.run(
            api.replay(
                find_recorded(subject, out),
                datasets=dataset,
                tasks=task,
                match=match,
                timed=timed,
                until=until,
                model=model,
                model_base_url=model_base_url,
                concurrency=concurrency,
                backend=backend,
                out=out,
                name=name,
                listener=listener,
                signals=True,
            )
        )
    report = api.replayed(end.path, subject=subject)
    if as_json:
        print_json(report)
    else:
        for line in lines(report):
            say(line)
    if end.failure:
        error(end.failure)
        return HARNESS_FAILED
    if end.interrupted:
        click.echo(f"interrupted; `bakeoff resume {end.path}` runs what is missing", err=True)
        return INTERRUPTED
    return exit_code(report, live=until is not None)


def exit_code(report: ReplayedJob, *, live: bool) -> int:
    """A trial that something else than the replay took out leaves it incomplete; past that, every one must come out as recorded.

    What went on with another model (``live``) need not.
    """
    gone = (str(Outcome.REPLAY_DIVERGED), str(Outcome.REPLAY_EXHAUSTED))
    if not report.complete:
        return INCOMPLETE
    if live:
        return GATE if any(trial.outcome in gone for trial in report.trials) else 0
    return 0 if report.same else GATE


def lines(report: ReplayedJob) -> list[str]:
    """A line a trial, and under each that went another way how its request differed."""
    said: list[str] = []
    for trial in report.trials:
        said.append(_line(trial))
        if trial.detail and not trial.same and trial.detail != trial.difference.partition("\n")[0]:
            said.append(f"    {trial.detail}")
        said += [f"    {line}" for line in trial.difference.splitlines()]
    same = sum(trial.same for trial in report.trials)
    said.append(f"{same} of {len(report.trials)} came out as recorded; job {Path(report.job)}")
    return said


def _line(trial: ReplayedTrial) -> str:
    mark = "same  " if trial.same else "DIFFERS"
    recorded = f"recorded {trial.recorded_outcome}{_reward(trial.recorded_reward)}"
    now = f"now {trial.outcome}{_reward(trial.reward)}"
    used = f"{trial.served} exchanges replayed" + (f", {trial.unused} unused" if trial.unused else "")
    return f"{mark}  {trial.task}  {trial.config}.{trial.attempt}  {recorded}, {now}; {used}"


def _reward(reward: float | None) -> str:
    return "" if reward is None else f" {reward:g}"
