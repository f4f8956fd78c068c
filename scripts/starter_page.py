"""The reference page on the dataset ``starter``: its tasks, what they need, and what has been run against their tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from bakeoff.checks.validate.needs import NOT_EVERYWHERE
from bakeoff.tasks.datasets import load_dataset
from bakeoff.tasks.manifest import read_manifest
from bakeoff.tasks.model import Task
from bakeoff.tasks.shipped import shipped_datasets
from bakeoff.tasks.wrong import wrong_solutions

_ORDER = {"easy": 0, "medium": 1, "hard": 2}


def page(generated: str) -> str:
    folder = shipped_datasets() / "starter"
    manifest = read_manifest(folder)
    assert manifest is not None
    tasks = sorted(load_dataset(str(folder)).tasks, key=lambda task: (_ORDER.get(task.difficulty, 3), task.name))
    counts = Counter(task.difficulty for task in tasks)
    graded = ", ".join(f"{counts[name]} {name}" for name in _ORDER if counts[name])
    lines = [
        generated,
        "# The dataset starter",
        "",
        f"{manifest.description}. {len(tasks)} tasks ({graded}) in {len({task.category for task in tasks})} categories, version",
        f"{manifest.version}, {manifest.license}. {manifest.provenance}",
        "",
        "`bakeoff run -d starter …` runs them. All run on this machine's own tools, read-only, with no image to build; what a task needs",
        "beyond python3, sh and what every Debian has is in its line, and where it is missing the task is `skipped`. Each has a Dockerfile",
        "for container engines too. Minutes are what an expert would take.",
        "",
        "| task | category | difficulty | minutes | needs | wrong solutions that its tests tell from a right one |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*lines, *map(_line, tasks)]) + "\n"


def _line(task: Task) -> str:
    needs = ", ".join(f"`{need}`" for need in _beyond(task.environment.needs))
    wrong = ", ".join(wrong_solutions(task))
    minutes = task.metadata.get("expert_time_min", "")
    link = f"[{task.name}](../../datasets/starter/{task.name}/instruction.md)"
    cells = (f"{link}: {task.description}", task.category, task.difficulty, str(minutes), needs, wrong)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _beyond(needs: Iterable[str]) -> list[str]:
    """Needs that a bare Debian does not have; python3 is where bakeoff is."""
    names = [need.partition(">")[0].partition("=")[0] for need in needs]
    return [name for name in names if name in NOT_EVERYWHERE and name != "python3"]
