"""``bakeoff resume``."""

from __future__ import annotations

import click

from bakeoff.cli.config import config_option


@click.command("resume", short_help="Finish what is missing of a job; change nothing that is finished.")
@click.argument("job")
@click.option(
    "-n", "--concurrency", type=int, metavar="N", help="Trials at once. Default: as the job was started with."
)
@click.option(
    "-o", "--out", default="jobs", show_default=True, metavar="DIR", help="Where jobs are looked for by name."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@config_option
def command(job: str, concurrency: int | None, out: str, as_json: bool, quiet: bool) -> int:
    """Run what is missing of JOB, a job folder or a name under --out, and report.

    What a killed run left behind is removed first. If a task or an agent changed since the job was planned, this says which and stops.
    """
    from bakeoff.cli.jobs import find_job
    from bakeoff.cli.work import work_on_old

    return work_on_old(find_job(job, out), concurrency=concurrency, as_json=as_json, quiet=quiet)
