"""``bakeoff check``."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

from bakeoff.cli.config import config_option
from bakeoff.cli.messages import GATE, HARNESS_FAILED, INTERRUPTED, Choice, error, say
from bakeoff.errors import InputError, nearest

if TYPE_CHECKING:
    from bakeoff.records.checks import GateName


@click.command("check", short_help="Say whether a task, a dataset or a fixture can be trusted.")
@click.argument("subject", required=False, metavar="[TASK|DATASET|FIXTURE]")
@click.option("-d", "--dataset", metavar="REF", help="A dataset: a known name, or a path.")
@click.option("-t", "--task", metavar="PATH", help="A task folder.")
@click.option("--registry", multiple=True, metavar="FILE", help="A TOML of datasets known by name.")
@click.option("--only", metavar="GATES", help="Some of validate,controls,leak. Default: all.")
@click.option("-i", "--include", multiple=True, metavar="GLOB", help="Only tasks whose name matches.")
@click.option("-x", "--exclude", multiple=True, metavar="GLOB", help="No task whose name matches.")
@click.option("--category", multiple=True, metavar="NAME", help="Only tasks of this category.")
@click.option("--limit", type=int, metavar="N", help="Only the first N tasks.")
@click.option("-b", "--backend", default="bubblewrap", show_default=True, metavar="NAME", help="What makes sandboxes.")
@click.option("--root", metavar="REF", help="Another root than the task asks for: host, a folder, a tar.")
@click.option("-n", "--concurrency", type=int, metavar="N", help="Trials at once. Default: one for each core.")
@click.option("--evidence", metavar="DIR", help="Where evidence is put. Default: the dataset's own folder.")
@click.option("--format", "form", type=Choice(["table", "json"]), default="table", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@config_option
def command(
    subject: str | None,
    dataset: str | None,
    task: str | None,
    registry: tuple[str, ...],
    only: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    category: tuple[str, ...],
    limit: int | None,
    backend: str,
    root: str | None,
    concurrency: int | None,
    evidence: str | None,
    form: str,
    quiet: bool,
) -> int:
    """Say whether a task, or each task of a dataset, can be trusted, and put that on record.

    Three gates: `validate` reads the task; `controls` runs its solution, which must pass, and an agent that does nothing and every
    wrong solution in wrong/, which must fail, twice each; `leak` looks for hidden files in all that the agent can see. Exits with 4
    where one does not hold.

    A fixture, or a tree of fixtures, has gates of its own: that its task is known, its hashes hold, it has an answer, and no secret is
    in it. Fixtures that known-bad.toml beside them names are reported, and fail nothing but the last.

    \b
    bakeoff check my-task
    bakeoff check -d starter --only validate,leak
    bakeoff check fixtures
    """
    import asyncio
    from pathlib import Path

    from bakeoff import api
    from bakeoff.cli.control_progress import ControlsShown
    from bakeoff.cli.progress import progress
    from bakeoff.cli.work import in_color, terminal_width
    from bakeoff.reports.checked import render_check
    from bakeoff.tasks.filters import Filters

    ref = _one(subject, dataset, task)
    if concurrency is not None and concurrency < 1:
        raise InputError("out of range", where="--concurrency", found=str(concurrency), wanted="at least 1")
    gates = _gates(only)
    with progress(quiet=quiet, shown=ControlsShown()) as listener:
        end = asyncio.run(
            api.check(
                ref,
                only=gates,
                filters=Filters(include=include, exclude=exclude, categories=category, limit=limit),
                registry=[Path(file) for file in registry],
                backend=backend,
                root=root,
                concurrency=concurrency,
                evidence=evidence,
                listener=listener,
                signals=True,
            )
        )
    if end.report is None:
        error(end.failure or "interrupted: nothing was put on record")
        return HARNESS_FAILED if end.failure else INTERRUPTED
    say(render_check(end.report, form, width=terminal_width(), color=in_color()), nl=False)
    return 0 if end.report.ok else GATE


def _one(subject: str | None, dataset: str | None, task: str | None) -> str:
    """The one thing to be checked; a path that is a task's stays a path, whatever names are known."""
    named = [name for name in (subject, dataset, task) if name is not None]
    if len(named) != 1:
        raise InputError(
            "what is to be checked?" if not named else "two things to be checked at once",
            where="bakeoff check",
            found=" and ".join(named),
            wanted="one task folder, dataset folder or known name; `bakeoff list datasets` has names",
        )
    return f"./{task}" if task is not None and "/" not in task else named[0]


def _gates(only: str | None) -> tuple[GateName, ...]:
    from bakeoff.records.checks import GATES

    if only is None:
        return GATES
    names = [name.strip() for name in only.split(",")]
    for name in names:
        if name not in GATES:
            raise InputError(
                "no such gate", where="--only", found=repr(name), wanted=", ".join(GATES), nearest=nearest(name, GATES)
            )
    return cast("tuple[GateName, ...]", tuple(dict.fromkeys(names)))
