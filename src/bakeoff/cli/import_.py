"""``bakeoff import``."""

from __future__ import annotations

import click

from bakeoff.cli.config import config_option
from bakeoff.cli.messages import Choice, say


@click.command("import", short_help="Make a fixture of traffic that another tool logged.")
@click.argument("file")
@click.option("--from", "form", type=Choice(["litellm", "otel"]), required=True, help="What FILE has a line of each.")
@click.option("-o", "--out", required=True, metavar="DIR", help="The fixture: a new folder.")
@click.option("-t", "--task", metavar="PATH", help="The folder of the task that was worked on.")
@click.option("-a", "--agent", default="", metavar="NAME", help="The agent that was at work.")
@click.option("--agent-version", default="", metavar="VERSION", help="Its version.")
@click.option(
    "-m", "--model", default="", metavar="MODEL", help="The model, as -m of run names it. Default: as logged."
)
@click.option("--reward", type=float, metavar="NUMBER", help="What the trial came to. Default: as logged, if it is.")
@click.option("--trace", default="", metavar="ID", help="Only what has this trace id, where FILE holds several trials.")
@config_option
def command(
    file: str,
    form: str,
    out: str,
    task: str | None,
    agent: str,
    agent_version: str,
    model: str,
    reward: float | None,
    trace: str,
) -> int:
    """Make a fixture of the traffic of one trial in FILE, with lines of LiteLLM's log or of OpenTelemetry's GenAI spans (OTLP/JSON).

    Neither has raw bytes: the fixture says so, and is replayed by what its messages say.
    """
    from bakeoff import api

    made = api.import_traffic(
        file,
        form,
        out,
        task=task,
        trace=trace,
        agent=agent,
        agent_version=agent_version,
        model=model,
        reward=reward,
    )
    provenance = made.provenance
    say(f"{out}: {provenance.exchanges} request{'s' if provenance.exchanges > 1 else ''} with their answers")
    for what, count in sorted(made.passed_over.items()):
        click.echo(f"left out: {count} {what}", err=True)
    for kind, count in sorted(provenance.redactions.items()):
        click.echo(f"replaced: {count} of {kind}", err=True)
    unknown = [name for name, value in (("--task", provenance.task), ("--agent", provenance.agent.name)) if not value]
    if unknown:
        click.echo(f"not known, and not compared when it is replayed: {', '.join(unknown)}", err=True)
    return 0
