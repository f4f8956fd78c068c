"""The form of a script in TOML, and what is wrong with one."""

from __future__ import annotations

import re
import tomllib
from typing import Annotated, Any, cast

from msgspec import Meta, Struct

from bakeoff.errors import InputError, InputErrors, nearest
from bakeoff.tasks.decode import decode, join, sound

Text = Annotated[str, Meta(min_length=1)]
Delay = Annotated[float, Meta(ge=0)]

_ERRORS = range(400, 600)


class CallTable(Struct, frozen=True):
    """A call of a tool by its name, with the arguments that it takes."""

    name: Text
    arguments: dict[str, object] = {}


class TurnTable(Struct, frozen=True, kw_only=True):
    """``[[turn]]``: one answer of the model.

    ``shell`` is a command for whatever tool the agent offers for one; ``tool_calls`` come after it. ``expect`` is a regular
    expression that must be found in what the last calls gave (before the first turn: in the instruction). ``status`` plays an
    HTTP error with ``message``. ``delay_sec`` passes before each chunk of the answer but the first.
    """

    text: str = ""
    reasoning: str = ""
    shell: Text | None = None
    tool_calls: tuple[CallTable, ...] = ()
    expect: Text | None = None
    status: int | None = None
    message: str = ""
    delay_sec: Delay = 0.0

    @property
    def calls(self) -> bool:
        """Whether the turn can be played to an agent that offers tools alone."""
        return self.shell is not None or bool(self.tool_calls)


class TaskTable(Struct, frozen=True):
    """``[task."NAME"]``: what is played on one task. Without a ``final`` of its own it ends as the others do."""

    turn: tuple[TurnTable, ...] = ()
    final: Text | None = None


class ScriptFile(Struct, frozen=True):
    """The whole file. The turns at its top are for every task that has no table of its own; ``final`` is said after the last."""

    name: str = ""
    final: Text = "Done."
    turn: tuple[TurnTable, ...] = ()
    task: dict[str, TaskTable] = {}


class Script(Struct, frozen=True):
    """What is played on one task."""

    name: str
    turns: tuple[TurnTable, ...]
    final: str

    @property
    def calls(self) -> bool:
        """Whether any turn calls a tool. To a script of texts alone, requests without tools are its conversation."""
        return any(turn.calls for turn in self.turns)


def parse(data: bytes, where: str) -> ScriptFile:
    """A script from the bytes of the file ``where``. Raises InputErrors with everything that is wrong."""
    findings: list[InputError] = []
    try:
        raw = cast("dict[str, object]", tomllib.loads(data.decode("utf-8")))
        table = cast("dict[str, object]", sound(raw, where, "", findings))
    except (ValueError, RecursionError) as error:
        raise InputError(f"not TOML: {error}", where=where, wanted="a script of [[turn]] tables") from None
    file, wrong = decode(ScriptFile, table, where)
    findings += wrong
    if file is not None:
        findings += _faults(file.turn, where, "turn")
        for name, task in file.task.items():
            findings += _faults(task.turn, where, join(join("task", name), "turn"))
        if not file.turn and not file.task and "final" not in raw and not findings:
            findings.append(InputError("missing", where=where, field="turn", wanted="at least one [[turn]]"))
    if findings or file is None:
        raise InputErrors(findings)
    return file


def turn_from(raw: dict[str, Any], where: str, at: str) -> TurnTable:
    """A turn that a program gave. Raises InputErrors with everything that is wrong."""
    turn, findings = decode(TurnTable, raw, where, at)
    if turn is not None and not findings:
        findings += _fault(turn, where, at)
    if findings or turn is None:
        raise InputErrors(findings)
    return turn


def for_task(file: ScriptFile, task: str, where: str) -> Script:
    """What the file has for a task, named with or without its case. Raises InputError where that is nothing."""
    bare = task.partition("@")[0]
    own = file.task.get(task, file.task.get(bare))
    if own is not None:
        return Script(file.name, own.turn, own.final or file.final)
    if file.task and not file.turn:
        names = ", ".join(sorted(file.task))
        near = nearest(task, file.task)
        raise InputError("no script for this task", where=where, field="task", found=task, wanted=names, nearest=near)
    return Script(file.name, file.turn, file.final)


def _faults(turns: tuple[TurnTable, ...], where: str, at: str) -> list[InputError]:
    return [fault for index, turn in enumerate(turns) for fault in _fault(turn, where, f"{at}[{index}]")]


def _fault(turn: TurnTable, where: str, at: str) -> list[InputError]:
    """What no single field of a turn shows to be wrong."""
    out: list[InputError] = []
    if turn.status is None:
        if not (turn.text or turn.reasoning or turn.calls):
            wanted = "text, shell, tool_calls or status"
            out.append(InputError("a turn that says nothing", where=where, field=at, wanted=wanted))
        if turn.message:
            out.append(InputError("a message without a status", where=where, field=join(at, "message")))
    elif turn.status not in _ERRORS:
        wanted = "the status of an HTTP error, 400 to 599"
        out.append(
            InputError("wrong value", where=where, field=join(at, "status"), found=str(turn.status), wanted=wanted)
        )
    if turn.expect is not None:
        try:
            re.compile(turn.expect)
        except re.error as error:
            found = f"{turn.expect!r}: {error}"
            out.append(InputError("not a regular expression", where=where, field=join(at, "expect"), found=found))
    return out
