"""The files of a task as text to look at, in bounds, whatever bytes they hold."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from bakeoff.checks.kinds import Kind, kind_of
from bakeoff.checks.validate.python_code import Python, parse_python
from bakeoff.checks.validate.shell import Command, Shell, parse_shell
from bakeoff.checks.validate.shell_values import commands_in
from bakeoff.tasks.model import Step, Task, TaskFile, read_file

LIMIT = 512 << 10
"""Bytes of a file that are looked at. Scripts are never that long; data files may be, and then only their start is read."""


Fault = tuple[str, str, str]
"""A file of the task, a field in it, and what is wrong."""


class Source:
    """One file: ``path`` is relative to the task, ``place`` relative to the folder that it is laid into (``/tests``, say).

    ``text`` has U+FFFD where bytes are not UTF-8. ``commands`` and ``python`` are empty for a file that is no script of theirs, or
    is too long; they are worked out when they are asked for, once.
    """

    def __init__(self, path: str, place: str, data: bytes, *, whole: bool = True) -> None:
        self.path = path
        self.place = place
        self.data = data
        self.whole = whole
        self.name = place.rpartition("/")[2]
        self.kind: Kind = kind_of(self.name, data)

    @cached_property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace").removeprefix("\ufeff")

    @cached_property
    def shell(self) -> Shell:
        return parse_shell(self.text if self.kind == "shell" and self.whole else "")

    @cached_property
    def commands(self) -> tuple[Command, ...]:
        """The commands of a shell script, with those of scripts that they hold as words, and variables replaced."""
        return commands_in(self.shell.commands)

    @cached_property
    def python(self) -> Python:
        return parse_python(self.text if self.kind == "python" and self.whole else "", f"/tests/{self.place}")

    def fault(self, line: int, message: str) -> Fault:
        return self.path, f"line {line}", message


def source_of(file: TaskFile, place: str) -> Source | None:
    """The file's text, or None where it is a link or its bytes are no longer there."""
    if file.link is not None:
        return None
    try:
        data = file.content if file.content is not None else _head(file)
    except OSError:
        return None
    return Source(file.path, place, data[:LIMIT], whole=len(data) <= LIMIT)


def _head(file: TaskFile) -> bytes:
    if file.origin is None or file.size <= LIMIT:
        return read_file(file)
    with open(file.origin, "rb") as stream:
        return stream.read(LIMIT + 1)


class Sources:
    """Every text of a task that the gate looks at, each read once."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._files = {file.path: file for file in task.files}
        self._read: dict[str, Source | None] = {}

    @property
    def paths(self) -> Iterable[str]:
        """The paths of every file of the task, links among them."""
        return self._files.keys()

    def has(self, path: str) -> bool:
        return path in self._files

    def at(self, path: str, place: str = "") -> Source | None:
        """The file of the task at ``path``, None where there is none that can be read."""
        file = self._files.get(path)
        if file is None:
            return None
        if path not in self._read:
            self._read[path] = source_of(file, place or path.rpartition("/")[2])
        return self._read[path]

    def under(self, folder: str) -> dict[str, Source]:
        """The files below a folder of the task, by their place in it."""
        found: dict[str, Source] = {}
        for path in self._files:
            if path.startswith(folder + "/"):
                place = path[len(folder) + 1 :]
                if (source := self.at(path, place)) is not None:
                    found[place] = source
        return found

    def tests(self, step: Step) -> dict[str, Source]:
        """What stands in ``/tests`` when a step is judged, by its place there."""
        found: dict[str, Source] = {}
        for folder in step.tests:
            found.update(self.under(folder))
        return found
