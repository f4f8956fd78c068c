"""``bakeoff export``."""

from __future__ import annotations

from pathlib import Path

import click

from bakeoff.cli.config import config_option
from bakeoff.cli.messages import Choice
from bakeoff.errors import InputError
from bakeoff.records.results import TrialResult


@click.command("export", short_help="Write what models were asked and answered as ATIF or OpenTelemetry.")
@click.argument("what", metavar="JOB|TRIAL|FIXTURE")
@click.option("--to", "form", type=Choice(["atif", "otel"]), required=True, help="The format.")
@click.option(
    "-o",
    "--out",
    "place",
    metavar="PATH",
    help="atif: a folder, with a file for each trial, or for one trial a FILE.json. otel: a file. Default: lines on standard output.",
)
@click.option(
    "--endpoint",
    metavar="URL",
    help="otel: a collector that takes OTLP over HTTP; keys go in OTEL_EXPORTER_OTLP_HEADERS.",
)
@click.option("--jobs", default="jobs", show_default=True, metavar="DIR", help="Where jobs are looked for by name.")
@config_option
def command(what: str, form: str, place: str | None, endpoint: str | None, jobs: str) -> int:
    """Write what the models of a job, of one trial (its folder, or JOB:TASK[@CASE][:ATTEMPT]) or of fixtures were asked and answered.

    atif is the Agent Trajectory Interchange Format 1.8; otel are OpenTelemetry's GenAI spans, a line of OTLP/JSON for each trial.
    """
    from bakeoff import api

    if endpoint is not None and (form != "otel" or place is not None):
        wanted = "--to otel" if form != "otel" else "either --out or --endpoint"
        raise InputError(
            "cannot be had with the other options", where="bakeoff export", field="--endpoint", wanted=wanted
        )
    folder, results = _meant(what, jobs)
    written = api.export(
        folder,
        form,
        results=results,
        out=place if place != "-" else None,
        endpoint=endpoint,
        write=lambda line: click.echo(line, nl=False),
    )
    if not written.trials:
        raise InputError(
            "no model answered in it, so there is nothing to export", where=what, wanted="trials with recorded traffic"
        )
    where = f" to {endpoint or place}" if endpoint or place else ""
    left = f"; {written.without} without an answer of a model left out" if written.without else ""
    click.echo(f"{written.trials} trial{'s' if written.trials > 1 else ''} exported{where}{left}", err=True)
    return 0


def _meant(what: str, jobs: str) -> tuple[Path, list[TrialResult] | None]:
    """The folder to read and, where it is a job's, the trials that are meant (None: all of them)."""
    from bakeoff.cli.jobs import find_job, find_trials
    from bakeoff.records.fixture_files import COMPRESSED, EXCHANGES, PROVENANCE
    from bakeoff.records.journal import JOB

    folder = Path(what)
    if (folder / JOB).is_file() or (Path(jobs) / what / JOB).is_file():
        return find_job(what, jobs), None
    if any((folder / name).is_file() for name in (PROVENANCE, EXCHANGES, COMPRESSED)):
        return folder, None
    if folder.is_dir() and not any((above / JOB).is_file() for above in folder.absolute().parents):
        return folder, None
    return find_trials(what, jobs)
