"""What a check found, for a terminal or as JSON."""

from __future__ import annotations

from collections import Counter

import msgspec

from bakeoff.records.checks import CheckReport, Control, Finding, Gate
from bakeoff.reports.layout import Document, Heading, Line, counted, to_text

_LOOKED_AT = {
    "validate": "files, checks that can fail, no network for tests, an instruction that names what is judged",
    "leak": "nothing hidden in the packet, the image, the instruction or version-control history",
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
        out += _notes(gate.notes)
    out.append(Line(""))
    out.append(Line("All gates hold." if report.ok else "Not every gate holds.", "good" if report.ok else "bad"))
    out.append(Line(f"Evidence: {report.evidence}", "dim"))
    return out


def _notes(notes: tuple[Finding, ...]) -> list[Line]:
    """The notes on a task; of several tasks only how many there are, since nothing has to be done about them."""
    tasks = list(dict.fromkeys(item.task for item in notes))
    if len(tasks) > 1:
        said = f"  {counted(len(notes), 'note')} on {counted(len(tasks), 'task')}; --format json has them, and so has a check of one task"
        return [Line(said, "dim")]
    return [Line(f"  note: {_where(item)}{item.message}", "dim", code=item.task) for item in notes]


def _gate(gate: Gate, report: CheckReport) -> Line:
    what = _controls(report.controls) if gate.name == "controls" else _LOOKED_AT[gate.name]
    if gate.ok:
        return Line(f"{gate.name:<9} holds: {what}", "good")
    tasks = counted(len({finding.task for finding in gate.findings}), "task")
    return Line(f"{gate.name:<9} does not hold: {counted(len(gate.findings), 'finding')} in {tasks}", "bad")


def _controls(controls: tuple[Control, ...]) -> str:
    """How many trials of each control ended as they had to."""
    counts = Counter(control.name.partition("/")[0] for control in controls)
    words = {"oracle": "the oracle passed {}", "nop": "doing nothing failed {}", "wrong": "wrong solutions failed {}"}
    said = [words[name].format(counted(counts[name], "time")) for name in words if counts[name]]
    return ", ".join(said) or "no task to run"


def _where(item: Finding) -> str:
    place = ": ".join(filter(None, (item.file, item.field)))
    return f"{place}: " if place else ""
