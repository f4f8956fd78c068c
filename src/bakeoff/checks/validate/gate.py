"""The gate ``validate``: what reading a task tells of its tests, before anything is run."""

from __future__ import annotations

from collections.abc import Iterable

from bakeoff.checks.base import Looked
from bakeoff.checks.validate.fields import environment_faults, field_notes, oracle_faults, unreferred
from bakeoff.checks.validate.names import Surroundings, instruction_faults, name_faults
from bakeoff.checks.validate.network import network_faults
from bakeoff.checks.validate.python_checks import python_faults, syntax_faults
from bakeoff.checks.validate.reach import reach
from bakeoff.checks.validate.script_checks import script_faults
from bakeoff.checks.validate.sources import Fault, Source, Sources
from bakeoff.records.checks import Finding
from bakeoff.tasks.model import Task


def validate(task: Task) -> Looked:
    """Look at a task that could be loaded. Executes nothing, and never fails, whatever its files hold."""
    sources = Sources(task)
    around = Surroundings(task, sources)
    findings: list[Fault] = []
    notes: list[Fault] = []
    every: dict[str, Source] = {}
    run: dict[str, Source] = {}
    used: set[str] = set()
    for step in task.steps:
        tests = sources.tests(step)
        reached = reach(tests)
        every.update({source.path: source for source in tests.values()})
        run.update({source.path: source for source in reached.run})
        used.update(tests[place].path for place in reached.named)
        findings += script_faults(tests, reached, f"{step.tests[-1] if step.tests else 'tests'}/test.sh")
        findings += python_faults(tests, reached)
        findings += network_faults(reached.run)
        findings += instruction_faults(step)
        for fault, newer in syntax_faults(reached.run):
            (notes if newer and task.environment.root != "host" else findings).append(fault)
        for fault, sure in name_faults(task, step, tests, reached, around):
            (findings if sure else notes).append(fault)
    findings += unreferred(every, used)
    findings += oracle_faults(task, sources)
    findings += environment_faults(task, sources, run)
    notes += field_notes(task)
    return Looked(_found(task, findings), _found(task, notes))


def _found(task: Task, faults: Iterable[Fault]) -> tuple[Finding, ...]:
    """As findings, each once; several steps may share a file."""
    return tuple(
        Finding(task=task.ref, file=file, field=field, message=message)
        for file, field, message in dict.fromkeys(faults)
    )
