"""What a task says of itself, and what goes with it."""

from __future__ import annotations

from collections.abc import Iterator

from bakeoff.checks.validate.dockerfile import dockerfile_faults
from bakeoff.checks.validate.needs import need_faults
from bakeoff.checks.validate.sources import Fault, Source, Sources
from bakeoff.tasks.model import Task
from bakeoff.tasks.wrong import wrong_solutions

_ENOUGH_WRONG = 2


def field_notes(task: Task) -> Iterator[Fault]:
    """Fields that readers of a report miss, and files that would say more of the tests."""
    table = "task.toml"
    if not task.category:
        yield (
            table,
            "metadata.category",
            'missing: reports cannot group the task; wanted a word such as "git" or "python"',
        )
    if not task.difficulty:
        yield table, "metadata.difficulty", 'missing; wanted "easy", "medium" or "hard"'
    if not task.description:
        yield table, "task.description", "missing; wanted one line that says what the task is about"
    if not (task.metadata.get("license") or task.metadata.get("licence")):
        yield table, "metadata.license", "missing: nobody knows whether they may use the task; wanted a licence's name"
    if any(step.agent.timeout_sec is None for step in task.steps):
        yield table, "agent.timeout_sec", "missing: the default limit holds; wanted seconds that suit the task"
    if any(step.verifier.timeout_sec is None for step in task.steps):
        yield table, "verifier.timeout_sec", "missing: the default limit holds; wanted seconds that suit the tests"
    if len(wrong_solutions(task)) < _ENOUGH_WRONG:
        message = "fewer than two wrong solutions, so little shows that the tests can fail"
        yield "wrong/", "", f"{message}; wanted a folder wrong/NAME/ with a solve.sh for each likely mistake"
    environment = task.environment
    if environment.root == "host" and not (environment.dockerfile or environment.image or environment.compose):
        message = "missing: container engines cannot run the task"
        yield "environment/Dockerfile", "", f"{message}; wanted a Dockerfile that makes the same environment"


def oracle_faults(task: Task, sources: Sources) -> Iterator[Fault]:
    """Steps without a solution to run."""
    for step in task.steps:
        folder = step.solution or (f"steps/{step.name}/solution" if step.name else "solution")
        names = ("solve.sh", "solve.bat") if task.environment.os == "windows" else ("solve.sh",)
        if not any(sources.has(f"{folder}/{name}") for name in names):
            message = "missing, so nothing shows that the task can be solved"
            yield f"{folder}/{names[-1]}", "", f"{message}; wanted a script that solves it, for the agent oracle"


def environment_faults(task: Task, sources: Sources, tests: dict[str, Source]) -> Iterator[Fault]:
    """Needs that are not stated, and Dockerfiles that cannot be built. ``tests`` are the test files that are run, by path."""
    environment = task.environment
    if environment.root == "host":
        scripts = dict(tests)
        for path in (environment.setup, *(f"{step.solution}/solve.sh" for step in task.steps if step.solution)):
            if path and (source := sources.at(path)) is not None:
                scripts[path] = source
        yield from need_faults(scripts, environment.needs)
    if environment.dockerfile and (source := sources.at(environment.dockerfile)) is not None:
        context = [path.removeprefix("environment/") for path in sources.paths if path.startswith("environment/")]
        yield from dockerfile_faults(source, context, certain=environment.compose is None)


def unreferred(tests: dict[str, Source], used: set[str]) -> Iterator[Fault]:
    """Files of the tests that no step's tests refer to; ``used`` holds the paths of those that some step does."""
    for source in sorted(tests.values(), key=lambda item: item.path):
        if source.path in used or _apart(source.name, source.place):
            continue
        message = "nothing in the tests refers to this file, so what it holds is not checked"
        yield source.path, "", f"{message}; wanted a test that uses it, or the file removed"


def _apart(name: str, place: str) -> bool:
    """True for files that are no part of the checks: notes for readers, and what tools look for by name."""
    upper = name.upper()
    prose = upper.startswith(("README", "LICENSE", "LICENCE", "NOTICE", "COPYING", "CHANGELOG", "AUTHORS"))
    tools = name.startswith((".git", ".keep", ".docker", "Dockerfile", "docker-compose", "requirements", "package"))
    return prose or tools or name in ("__init__.py", "pyproject.toml", "uv.lock") or "__pycache__" in place.split("/")
