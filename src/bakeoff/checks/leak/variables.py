"""Values that a task gives to its tests and its solution alone, in what the agent sees."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from bakeoff.checks.leak.seen import Place, Seen
from bakeoff.tasks.model import Task
from bakeoff.trials.packet import looks_private

_TOKEN = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])[^\s/:]{12,}")
_LEAST = 5


class Value(Struct, frozen=True):
    """``field`` is where in task.toml the value stands."""

    name: str
    field: str
    value: str


def hidden_values(task: Task) -> list[Value]:
    """Values of ``verifier.env`` and ``solution.env`` that are nobody else's: of a private name, or hardly there by chance.

    What is filled in from the harness's own environment stands in no task.
    """
    tables = {"solution.env": task.solution_env, "verifier.env": task.verifier.env}
    for step in task.steps:
        if step.name:
            tables[f"steps.{step.name}.verifier.env"] = step.verifier.env
    return [
        Value(name, f"{field}.{name}", value)
        for field, table in tables.items()
        for name, value in table.items()
        if "${" not in value and len(value) >= _LEAST and not value.startswith("/")
        if looks_private(name) or _TOKEN.fullmatch(value)
    ]


def values_in(values: Iterable[Value], seen: Iterable[Seen]) -> Iterator[tuple[Seen, str]]:
    """Where such a value stands in something visible, and which. In data it may have to be found, in prose it is given away."""
    wanted = list(values)
    if not wanted:
        return
    for one in seen:
        text = one.text or ""
        for value in wanted:
            if re.search(rf"(?<!\w){re.escape(value.value)}(?!\w)", text):
                yield one, value.field


def variables_shown(env: Mapping[str, str], own: Mapping[str, str]) -> Iterator[tuple[Place, str]]:
    """Every variable that the agent finds with its place: those of the task in task.toml, the rest in the image."""
    for name, value in env.items():
        yield (
            (Place(file="task.toml", inner=f"environment.env.{name}") if name in own else Place(inner=f"${name}")),
            value,
        )
