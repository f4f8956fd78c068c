"""``bakeoff new``."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any

import click

from bakeoff.cli.messages import Choice, say
from bakeoff.errors import InputError, InputErrors


@click.command("new", short_help="Start a task or a dataset of your own from one that passes.")
@click.argument("what", type=Choice(["task", "dataset"]), metavar="task|dataset")
@click.argument("path", required=False)
@click.option("--kind", metavar="file|program|service", help="What the agent is to make.  [default: file]")
@click.option("--description", metavar="TEXT", help="One line on what the task is, or the dataset.")
@click.option("--category", metavar="NAME", help="What kind of work the task is.")
@click.option("--difficulty", metavar="easy|medium|hard", help="How hard the task is.")
@click.option(
    "--root",
    metavar="host|image",
    help="What the task runs on: this machine's own tools, or an image.  [default: host, or image with --image]",
)
@click.option(
    "--image", metavar="NAME", help="An image that is there already, in place of one built from the Dockerfile."
)
@click.option("--need", "needs", multiple=True, metavar="CMD", help="One more command that a host root must have.")
@click.option("--agent-timeout", type=float, metavar="S", help="The agent's time limit in seconds.")
@click.option("--author", metavar="NAME", help="Who writes the task: a name, or 'Name <address>'.")
@click.option("--license", metavar="NAME", help="The licence of what is made.  [default: Apache-2.0]")
@click.option("--no-input", is_flag=True, help="Ask nothing, even at a terminal.")
def command(what: str, path: str | None, no_input: bool, **given: Any) -> int:
    """Write a small task that passes into the new folder PATH, to be changed bit by bit; or a dataset, which is a folder of tasks.

    On a terminal, what no option says is asked for. With dataset the description is the dataset's; the other options are
    for its first task.
    """
    from bakeoff.cli.asking import may_ask
    from bakeoff.cli.new_questions import ask_dataset, ask_path, ask_task
    from bakeoff.tasks.new import check_path, new_dataset, new_task
    from bakeoff.tasks.new_table import NewTask, problems, template

    asking = may_ask(no_input)
    if path is None and not asking:
        raise InputError(
            "is missing", where="bakeoff new", field="PATH", wanted=f"a folder for the {what}, not there yet"
        )
    folder = ask_path(what) if path is None else Path(path)
    check_path(folder)
    values = {key: value for key, value in given.items() if value not in (None, ())}
    if wrong := problems(NewTask(**values)):
        raise InputErrors(wrong)
    if what == "task":
        written = new_task(folder, ask_task(values) if asking else NewTask(**values))
    else:
        if asking:
            values |= ask_dataset(values)
        description = values.pop("description", f"Tasks of {folder.name}")
        said = NewTask(**values)
        written = new_dataset(folder, description, said.license or template(said.kind)[1].license or "", said)
    for file in written:
        say(str(file))
    option = "-t" if what == "task" else "-d"
    place = quote(str(folder))
    click.echo(
        "\nNext: run its own solution, and check all that must hold of a task.\n\n"
        f"  bakeoff run {option} {place} -a oracle\n"
        f"  bakeoff check {'' if what == 'task' else '-d '}{place}",
        err=True,
    )
    return 0
