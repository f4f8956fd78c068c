"""``bakeoff compare``."""

from __future__ import annotations

import click

from bakeoff.cli.config import config_option
from bakeoff.cli.messages import GATE, Choice, say


@click.command("compare", short_help="Say whether one job is better than another.")
@click.argument("base")
@click.argument("candidates", nargs=-1, required=True, metavar="CANDIDATE...")
@click.option("--format", "form", type=Choice(["table", "json", "md", "csv"]), default="table", show_default=True)
@click.option(
    "--metric", default="passed", show_default=True, metavar="NAME", help="passed, reward, or a reward's name."
)
@click.option("--fail-on-regression", is_flag=True, help="Exit with 4 if a candidate is worse.")
@click.option(
    "--margin", type=float, default=0.0, show_default=True, metavar="D", help="How much worse is no matter, 0 to 1."
)
@click.option(
    "--alpha", type=float, default=0.05, show_default=True, metavar="A", help="The chance of error that is accepted."
)
@click.option(
    "-o", "--out", default="jobs", show_default=True, metavar="DIR", help="Where jobs are looked for by name."
)
@config_option
def command(
    base: str,
    candidates: tuple[str, ...],
    form: str,
    metric: str,
    fail_on_regression: bool,
    margin: float,
    alpha: float,
    out: str,
) -> int:
    """Compare each CANDIDATE with BASE, paired by task: what improved, what regressed, and whether that is more than chance.

    Each is a job folder or a name under --out; a job of several configs is named with one of them, JOB:CONFIG.
    """
    from bakeoff import api
    from bakeoff.cli.jobs import find_side
    from bakeoff.cli.work import in_color, terminal_width
    from bakeoff.reports.compared import render_comparisons
    from bakeoff.reports.comparison import fail_on_regression as gate

    sides = [find_side(name, out) for name in (base, *candidates)]
    found = api.compare(sides[0], sides[1:], metric=metric, alpha=alpha, margin=margin)
    say(render_comparisons(found, form, width=terminal_width(), color=in_color()), nl=False)
    if not fail_on_regression:
        return 0
    gates = [gate(comparison) for comparison in found]
    for broken in (each for each in gates if not each.holds):
        click.echo(f"{broken.name}: does not hold: {broken.reason}", err=True)
    return 0 if all(each.holds for each in gates) else GATE
