"""What a check found, for a terminal or as JSON."""

from __future__ import annotations

from collections import Counter

import msgspec

from bakeoff.records.checks import FIXTURE_GATES, CheckReport, Control, Finding, Gate
from bakeoff.reports.layout import Document, Heading, Line, counted, to_text

_LOOKED_AT = {
    "validate": "files, checks that can fail, no network for tests, an instruction that names what is judged",
    "leak": "nothing hidden in the packet, the image, the instruction or version-control history",
    "provenance": "recorded from a task that is known here, as it is now",
    "hashes": "every line and every body as it was recorded",
    "answers": "each fixture has an answer to replay",
    "secrets": "none, by value or by shape",
}


def render_check(report: CheckReport, form: str, *, width: int | None, color: bool) -> str:
    """``form`` is ``table`` or ``json``."""
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"
    return to_text(document(report), width=width, color=color)


def document(report: CheckReport) -> Document:
    """Each gate with what it found, task by task, then where the evidence is."""
    out: list[Heading | Line] = [Heading(report.subject, 1)]
    for gate in report.gates:
        out.append(_gate(gate, report))
        out += [Line(f"  {_where(item)}{item.message}", code=item.task) for item in gate.findings]
        out += _notes(gate)
    out.append(Line(""))
    out.append(Line("All gates hold." if report.ok else "Not every gate holds.", "good" if report.ok else "bad"))
    if report.evidence:
        out.append(Line(f"Evidence: {report.evidence}", "dim"))
    return out


def _notes(gate: Gate) -> list[Line]:
    """The notes on a task; of several tasks only how many there are, since nothing has to be done about them. All of those on fixtures."""
    tasks = list(dict.fromkeys(item.task for item in gate.notes))
    if len(tasks) > 1 and gate.name not in FIXTURE_GATES:
        said = f"{counted(len(gate.notes), 'note')} on {counted(len(tasks), 'task')}"
        return [Line(f"  {said}; --format json has them, and so has a check of one task", "dim")]
    return [Line(f"  note: {_where(item)}{item.message}", "dim", code=item.task) for item in gate.notes]


def _gate(gate: Gate, report: CheckReport) -> Line:
    width = max(9, *(len(item.name) for item in report.gates))
    what = _controls(report.controls) if gate.name == "controls" else _LOOKED_AT[gate.name]
    if gate.ok:
        return Line(f"{gate.name:<{width}} holds: {what}", "good")
    kind = "fixture" if gate.name in FIXTURE_GATES else "task"
    tasks = counted(len({finding.task for finding in gate.findings}), kind)
    return Line(f"{gate.name:<{width}} does not hold: {counted(len(gate.findings), 'finding')} in {tasks}", "bad")


def _controls(controls: tuple[Control, ...]) -> str:
    """How many trials of each control ended as they had to."""
    counts = Counter(control.name.partition("/")[0] for control in controls)
    words = {"oracle": "the oracle passed {}", "nop": "doing nothing failed {}", "wrong": "wrong solutions failed {}"}
    said = [words[name].format(counted(counts[name], "time")) for name in words if counts[name]]
    return ", ".join(said) or "no task to run"


def _where(item: Finding) -> str:
    place = ": ".join(filter(None, (item.file, item.field)))
    return f"{place}: " if place else ""
