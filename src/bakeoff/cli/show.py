"""``bakeoff show``."""

from __future__ import annotations

from pathlib import Path

import click

from bakeoff.cli.messages import print_json, say
from bakeoff.records.outcomes import Outcome
from bakeoff.records.results import TrialResult


@click.command("show", short_help="Show one trial: how it ended, why, and where its files are.")
@click.argument("trial")
@click.option(
    "-o", "--out", default="jobs", show_default=True, metavar="DIR", help="Where jobs are looked for by name."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
def command(trial: str, out: str, as_json: bool) -> int:
    """Show a trial: its folder, or JOB:TASK[@CASE][:ATTEMPT]. Where a job has several configs, each is shown."""
    from bakeoff.cli.jobs import find_trials

    job, results = find_trials(trial, out)
    if as_json:
        print_json([{**_plain(result), "folder": str(job / result.path)} for result in results])
        return 0
    for number, result in enumerate(results):
        if number:
            say("")
        for name, value in facts(job, result):
            say(f"{name:<10} {value}")
        for line in difference(job, result):
            say(f"           {line}")
    return 0


def facts(job: Path, result: TrialResult) -> list[tuple[str, str]]:
    """A trial as names and values to be read, those without a value left out."""
    from bakeoff.reports.layout import printable, seconds

    counts = {True: "passed", False: "not passed", None: "excluded from the rate"}[result.passed]
    plain = result.outcome in (Outcome.PASSED, Outcome.FAILED)
    phases = ", ".join(f"{name} {seconds(value)}" for name, value in result.phases.items())
    rewards = ", ".join(f"{name} {value:g}" for name, value in result.rewards.items())
    folder = job / result.path
    rows = [
        ("task", result.ref),
        ("config", result.config.slug),
        ("attempt", f"{result.attempt}" + (f", after {result.tries} tries" if result.tries > 1 else "")),
        ("outcome", str(result.outcome) if plain else f"{result.outcome} ({counts})"),
        ("why", result.detail),
        ("reward", "" if result.reward is None else f"{result.reward:g}"),
        ("rewards", rewards if len(result.rewards) > 1 else ""),
        ("started", result.started_at),
        ("phases", phases),
        ("sandbox", " · ".join(filter(None, (result.backend, f"network {result.network}", f"verify {result.verify}")))),
        ("flags", ", ".join(result.flags)),
        ("folder", str(folder)),
    ]
    rows += [(f"  step {step.name}", f"{step.outcome} {step.detail}".strip()) for step in result.steps if step.name]
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    rows += [("", f"{path.relative_to(folder)} {path.stat().st_size} bytes") for path in files if path.stat().st_size]
    return [(name, printable(value)) for name, value in rows if value]


def difference(job: Path, result: TrialResult) -> list[str]:
    """Where a trial's first request that had not been recorded differs from what was, as lines."""
    from bakeoff.reports.layout import printable
    from bakeoff.reports.replayed import REPLAY, read_replay

    record = read_replay(job / result.path / REPLAY)
    lines = record.report.difference.splitlines() if record else []
    return [printable(line) for line in (lines[1:] if lines[:1] == [result.detail] else lines)]


def _plain(result: TrialResult) -> dict[str, object]:
    import msgspec

    built: dict[str, object] = msgspec.to_builtins(result)
    return built
