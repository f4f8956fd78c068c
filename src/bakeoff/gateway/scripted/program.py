"""A script in Python: a file with ``reply(request)``, which gives a turn."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from types import ModuleType
from typing import cast

from bakeoff.errors import InputError
from bakeoff.gateway.scripted import script
from bakeoff.gateway.scripted.play import Played, Question, ending, perform, side, stopped
from bakeoff.gateway.shapes.base import Turn
from bakeoff.gateway.shapes.reading import BadShape, dump_bytes, load_table

Reply = Callable[[Question], object]


class ProgramError(Exception):
    """The script raised, or gave what is no turn. ``str()`` says what and where."""


def load(data: bytes, where: str) -> Reply:
    """The function ``reply`` of a file. The file is run. Raises InputError where it raises or has none."""
    module = ModuleType("bakeoff_script")
    module.__file__ = where
    try:
        exec(compile(data, where, "exec"), module.__dict__)  # noqa: S102 - the user's own program is what is asked for
    except SyntaxError as error:
        raise InputError(f"not Python: {error.msg}", where=f"{where}:{error.lineno}") from None
    except Exception as error:  # noqa: BLE001 - whatever the user's program raises is told with its place
        raise InputError(f"raises {_told(error)}", where=_place(error, where)) from None
    reply = getattr(module, "reply", None)
    if not callable(reply):
        raise InputError("missing", where=where, field="reply", wanted="a function reply(request) that gives a turn")
    return cast("Reply", reply)


def play(reply: Reply, question: Question, where: str, name: str) -> Played:
    """What the program answers. None ends the run, as a script's end does. Raises ProgramError and NoTool."""
    if fault := stopped(question):
        return Played(turn=ending(question, fault, question.turn))
    try:
        given = reply(question)
    except Exception as error:  # noqa: BLE001 - whatever the user's program raises is told with its place
        raise ProgramError(f"{_place(error, where)}: reply() raises {_told(error)}") from None
    if given is None:
        return side(name) if question.side else Played(turn=ending(question, "Done.", question.turn))
    if not isinstance(given, (dict, Turn)):
        raise ProgramError(f"{where}: reply() gives {type(given).__name__}, wanted a dict with the keys of a turn")
    try:
        raw = load_table(dump_bytes(cast("object", given)))
        if isinstance(given, Turn):
            return side(name) if question.side and given.calls else Played(turn=given)
        wanted = script.turn_from(raw, where, "reply()")
    except BadShape as error:
        raise ProgramError(f"{where}: what reply() gives {error}") from None
    except InputError as error:
        raise ProgramError(str(error)) from None
    return side(name) if question.side and wanted.calls else perform(wanted, question, question.turn)


def _told(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _place(error: Exception, where: str) -> str:
    """The file, and the line of it that was last on the way to the error."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == where]
    return f"{where}:{lines[-1]}" if lines else where
