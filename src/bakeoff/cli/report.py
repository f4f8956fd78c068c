"""``bakeoff report``."""

from __future__ import annotations

import click

from bakeoff.cli.config import config_option
from bakeoff.cli.messages import Choice, say


@click.command("report", short_help="Say what a job came to.")
@click.argument("job")
@click.option("--format", "form", type=Choice(["table", "json", "md", "csv"]), default="table", show_default=True)
@click.option(
    "-o", "--out", default="jobs", show_default=True, metavar="DIR", help="Where jobs are looked for by name."
)
@config_option
def command(job: str, form: str, out: str) -> int:
    """Say what JOB, a job folder or a name under --out, came to so far. csv has a line for each trial."""
    from bakeoff import api
    from bakeoff.cli.jobs import find_job
    from bakeoff.cli.work import print_report

    folder = find_job(job, out)
    if form == "csv":
        from bakeoff.reports.rows import trials_csv

        for line in trials_csv(api.results(folder)):
            say(line, nl=False)
    else:
        print_report(api.report(folder), form)
    return 0
