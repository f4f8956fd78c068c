"""What ``bakeoff new`` asks somebody at a terminal, where no option says it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from bakeoff.cli.asking import ask
from bakeoff.errors import InputError
from bakeoff.tasks.new import check_path
from bakeoff.tasks.new_table import DIFFICULTIES, KINDS, ROOTS, NewTask, problems, template

Values = dict[str, Any]


def ask_path(what: str) -> Path:
    """Where the new folder is to be."""

    def take(answer: str) -> Path:
        folder = Path(answer)
        check_path(folder)
        return folder

    name = "my-task" if what == "task" else "my-tasks"
    return ask(f"Folder of the new {what}, named as it is to be called", "" if os.path.lexists(name) else name, take)


def ask_task(given: Mapping[str, Any]) -> NewTask:
    """What ``given`` does not say of the new task, each with its template's value as the default."""
    values: Values = {**given}
    _kind(values)
    _, own = template(values["kind"])
    _text(values, "description", "Description, one line", own.description)
    _text(values, "category", "Category", own.category)
    _text(values, "difficulty", f"Difficulty ({', '.join(DIFFICULTIES)})", own.difficulty)
    _text(values, "root", f"Root ({' or '.join(ROOTS)})", "image" if "image" in values else "host")
    if values["root"] == "image":
        _text(values, "image", "Image that is there already (none: built from the Dockerfile)", "none", none=True)
    elif "needs" not in values:
        values["needs"] = ask(
            f"Commands that it needs beyond {', '.join(own.needs)}",
            "none",
            _taken("needs", lambda answer: () if answer == "none" else tuple(re.split(r"[\s,]+", answer.strip()))),
        )
    if "agent_timeout" not in values:
        values["agent_timeout"] = ask(
            "Time limit of the agent, in seconds", f"{own.agent_timeout:g}", _taken("agent_timeout", _seconds)
        )
    _text(values, "author", "Author, a name or Name <address>", "none", none=True)
    _text(values, "license", "Licence", own.license)
    return NewTask(**values)


def ask_dataset(given: Mapping[str, Any]) -> Values:
    """The same for a new dataset, which asks of its first task only the kind."""
    values: Values = {**given}
    _text(values, "description", "Description of the dataset, one line", "Tasks of our own")
    _text(values, "license", "Licence", template("file")[1].license)
    _kind(values, "Kind of its first task")
    return values


def _kind(values: Values, question: str = "Kind") -> None:
    if "kind" not in values:
        for kind, meaning in KINDS.items():
            click.echo(f"  {kind:8} {meaning}")
        _text(values, "kind", question, "file")


def _text(values: Values, field: str, question: str, default: str | None, *, none: bool = False) -> None:
    if field not in values:
        values[field] = ask(
            question, default or "", _taken(field, lambda answer: None if none and answer == "none" else answer)
        )


def _taken(field: str, convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """Refuses what is wrong for a field of NewTask."""

    def take(answer: str) -> Any:
        value = convert(answer)
        for wrong in problems(NewTask(**{field: value})):
            raise InputError(wrong.message, found=wrong.found, wanted=wrong.wanted, nearest=wrong.nearest)
        return value

    return take


def _seconds(answer: str) -> float:
    try:
        return float(answer)
    except ValueError:
        raise InputError("not a number", found=repr(answer), wanted="seconds") from None
