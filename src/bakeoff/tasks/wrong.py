"""Wrong solutions that come with a task: controls that its tests must not let pass.

``wrong/NAME/`` holds files that replace those of ``solution/``: with only a ``solve.sh`` in it, that script is run in place of the
right one, with the solution's other files beside it. In a task with steps it is ``steps/STEP/wrong/NAME/``; the other steps keep
their solutions.
"""

from __future__ import annotations

from bakeoff.tasks.model import Step, Task

WRONG = "wrong"


def wrong_solutions(task: Task) -> tuple[str, ...]:
    """Their names, sorted, whichever step they belong to."""
    names: set[str] = set()
    for step in task.steps:
        prefix = f"{_home(step)}{WRONG}/"
        names.update(
            file.path.removeprefix(prefix).split("/")[0]
            for file in task.files
            if file.path.startswith(prefix) and "/" in file.path.removeprefix(prefix)
        )
    return tuple(sorted(names))


def wrong_folder(step: Step, name: str) -> str:
    """The folder inside the task where the wrong solution ``name`` of a step is, if the step has it."""
    return f"{_home(step)}{WRONG}/{name}"


def _home(step: Step) -> str:
    return f"steps/{step.name}/" if step.name else ""
