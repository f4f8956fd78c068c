"""What a task hides, as it is looked for."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from bakeoff.checks import kinds
from bakeoff.checks.leak.lines import MAX_TEXT, is_distinctive, is_frame, lines_of, squeezed, text_of
from bakeoff.files.tree import checked_bytes
from bakeoff.tasks.model import Task, TaskFile, Visibility

_SCRIPTS = frozenset((
    "sh", "bash", "py", "pl", "rb", "js", "mjs", "ts", "c", "h", "cc", "cpp", "go", "rs", "java", "lua", "awk", "sed", "sql", "mk",
    "patch", "diff",
))  # fmt: skip
_NAME = re.compile(r"[\w][\w.@+-]*")
_MAX_LINES = 20_000
_SMALL = 64 << 10  # characters of a data file that is looked for as a whole in longer texts
Kind = Literal["tests", "solution", "wrong", "hidden", "setup"]


class Secret(Struct, frozen=True, kw_only=True):
    """One hidden file. ``last`` is the number of the last step in which it is hidden.

    ``digests`` are of its bytes and of its text without layout (see ``digests_of``). ``lines`` are those that say something, in
    order; ``strong`` those of them that are hardly there by chance, ``said`` those of a script's own that are not data in
    it. ``whole`` is the text without layout, empty where there is none or it is long. ``names`` are the words of the file
    that can be names of files.
    """

    path: str
    kind: Kind
    last: int
    script: bool
    size: int
    digests: frozenset[str]
    lines: tuple[str, ...] = ()
    strong: frozenset[str] = frozenset()
    said: frozenset[str] = frozenset()
    whole: str = ""
    names: frozenset[str] = frozenset()


def secrets_of(task: Task) -> tuple[Secret, ...]:
    """Every hidden file of the task that is not empty. Raises InputError for one that changed since the task was read."""
    out: list[Secret] = []
    for file in task.files:
        kind = kind_of(task, file)
        if kind is not None and file.link is None and file.size:
            out.append(secret(file, kind, _last(task, file.path)))
    return tuple(out)


def kind_of(task: Task, file: TaskFile) -> Kind | None:
    """What a file hides; None for one that hides nothing, whoever may see it."""
    if file.visibility is Visibility.AGENT:
        return None
    if file.path == task.environment.setup or any(file.path == f"{step.workdir}/setup.sh" for step in task.steps):
        return "setup"
    if file.visibility is Visibility.VERIFIER:
        return "tests"
    parts = file.path.split("/")
    place = parts[2] if parts[0] == "steps" and len(parts) > 3 else parts[0]
    if place == "solution":
        return "solution"
    if place == "wrong":
        return "wrong"
    laid = (task.environment.files, *(step.workdir for step in task.steps))
    return "hidden" if any(folder and file.path.startswith(f"{folder}/") for folder in laid) else None


def secret(file: TaskFile, kind: Kind, last: int) -> Secret:
    """The file as it is looked for. Bytes beyond what is compared are hashed alone."""
    data = checked_bytes(file) if file.size <= MAX_TEXT else b""
    extension = posixpath.splitext(file.path)[1].lower().lstrip(".")
    script = data.startswith(b"#!") or extension in _SCRIPTS or posixpath.basename(file.path) == "Makefile"
    text = text_of(data) if data else None
    if text is None or b"\0" in data[:8192]:
        return Secret(
            path=file.path, kind=kind, last=last, script=script, size=file.size, digests=frozenset((file.sha256,))
        )
    lines = lines_of(text, shell=kinds.kind_of(file.path, data) == "shell")[:_MAX_LINES]
    lines = tuple(line for line in lines if line.here or not is_frame(line.text))
    strong = frozenset(line.text for line in lines if is_distinctive(line.text))
    whole = squeezed(text) if len(text) <= _SMALL else ""
    return Secret(
        path=file.path,
        kind=kind,
        last=last,
        script=script,
        size=file.size,
        digests=digests_of(data, text),
        lines=tuple(line.text for line in lines),
        strong=strong,
        said=frozenset(line.text for line in lines if not line.here) & strong if script else frozenset(),
        whole=whole,
        names=names_in(text) if script else frozenset(),
    )


def names_in(text: str) -> frozenset[str]:
    """The words of a text that can be names of files; a full stop behind one is none of it."""
    return frozenset(name.rstrip(".") for name in _NAME.findall(text))


def digests_of(data: bytes, text: str | None) -> frozenset[str]:
    """Of the bytes and, for text, of the text with its white space squeezed: line ends and indentation change nothing."""
    exact = hashlib.sha256(data).hexdigest()
    if text is None:
        return frozenset((exact,))
    return frozenset((exact, "text:" + hashlib.sha256(squeezed(text).encode()).hexdigest()))


def _last(task: Task, path: str) -> int:
    """The number of the last step that uses the file: from the next on it hides nothing any more."""
    used = [number for number, step in enumerate(task.steps) if _uses(step.tests, step.name, path)]
    return max(used, default=len(task.steps) - 1)


def _uses(tests: Sequence[str], step: str, path: str) -> bool:
    return path.startswith(tuple(f"{folder}/" for folder in tests)) or bool(step and path.startswith(f"steps/{step}/"))
