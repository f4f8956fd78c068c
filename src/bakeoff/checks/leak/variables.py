"""Values that a task gives to its tests and its solution alone, in what the agent sees."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from bakeoff.checks.leak.seen import Place, Seen
from bakeoff.tasks.model import Task
from bakeoff.trials.packet import looks_private

_TOKEN = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])[^\s/:]{12,}")
_LEAST = 5


def _hidden_values(task: Task) -> Iterator[tuple[str, str]]:
    """Values of ``verifier.env`` and ``solution.env`` that are nobody else's: of a private name, or hardly there by chance.

    The first is the field in task.toml. What is filled in from the harness's own environment stands in no task.
    """
    tables = {"solution.env": task.solution_env, "verifier.env": task.verifier.env}
    for step in task.steps:
        if step.name:
            tables[f"steps.{step.name}.verifier.env"] = step.verifier.env
    for field, table in tables.items():
        for name, value in table.items():
            own = "${" not in value and len(value) >= _LEAST and not value.startswith("/")
            if own and (looks_private(name) or _TOKEN.fullmatch(value)):
                yield f"{field}.{name}", value


def values_in(task: Task, seen: Iterable[Seen]) -> Iterator[tuple[Seen, str]]:
    """Where a hidden value stands in something visible, and its field in task.toml."""
    wanted = [(field, re.compile(rf"(?<!\w){re.escape(value)}(?!\w)")) for field, value in _hidden_values(task)]
    for one in seen:
        for field, value in wanted:
            if value.search(one.text or ""):
                yield one, field


def variables_shown(env: Mapping[str, str], own: Mapping[str, str]) -> Iterator[tuple[Place, str]]:
    """Every variable that the agent finds with its place: those of the task in task.toml, the rest in the image."""
    for name, value in env.items():
        yield (
            Place(file="task.toml", inner=f"environment.env.{name}") if name in own else Place(inner=f"${name}"),
            value,
        )
