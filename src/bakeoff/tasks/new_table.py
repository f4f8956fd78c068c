"""What the author of a new task says of it, and how that stands in its ``task.toml``."""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path
from typing import Any

from msgspec import Struct

from bakeoff.errors import InputError, nearest
from bakeoff.tasks import toml_text as toml
from bakeoff.tasks.harbor_environment import needs

TEMPLATES = Path(__file__).parent / "templates"
KINDS = {
    "file": "the agent writes a file, which is compared",
    "program": "the agent writes a program, which is run on inputs that it never saw",
    "service": "the agent starts a service and leaves it running, and it is asked",
}
DIFFICULTIES = ("easy", "medium", "hard")
ROOTS = ("host", "image")

_AUTHOR = re.compile(r"(?P<name>[^<>]*[^<>\s])\s*<(?P<email>[^<>\s]+@[^<>\s]+)>\s*")


class NewTask(Struct, frozen=True, kw_only=True):
    """What is said of a new task; None is for what its template says.

    ``agent_timeout`` is in seconds. ``needs`` are commands beyond those of the template. ``author`` is a name, or
    ``Name <address>``; empty for none. ``root`` None is ``image`` where an ``image`` is named, else ``host``.
    """

    kind: str = "file"
    description: str | None = None
    category: str | None = None
    difficulty: str | None = None
    root: str | None = None
    image: str | None = None
    needs: tuple[str, ...] = ()
    agent_timeout: float | None = None
    author: str | None = None
    license: str | None = None

    @property
    def on_host(self) -> bool:
        return (self.root or ("image" if self.image else "host")) == "host"


def template(kind: str) -> tuple[str, NewTask]:
    """The name of a template's task, and what it says of itself."""
    table: dict[str, Any] = tomllib.loads(table_of(kind))
    metadata = table["metadata"]
    return table["task"]["name"], NewTask(
        kind=kind,
        description=table["task"]["description"],
        category=metadata["category"],
        difficulty=metadata["difficulty"],
        root=metadata["bakeoff"]["root"],
        needs=tuple(metadata["bakeoff"]["needs"]),
        agent_timeout=table["agent"]["timeout_sec"],
        license=metadata["license"],
    )


def table_of(kind: str) -> str:
    """The ``task.toml`` of a template, as text."""
    return (TEMPLATES / kind / "task.toml").read_text(encoding="utf-8")


def problems(said: NewTask) -> list[InputError]:
    """Everything that is wrong with what is said, each with the option of ``bakeoff new`` it was said with."""
    found: list[InputError] = []
    choices = (
        ("--kind", said.kind, KINDS),
        ("--difficulty", said.difficulty, DIFFICULTIES),
        ("--root", said.root, ROOTS),
    )
    for option, value, names in choices:
        if value is not None and value not in names:
            wanted = f"one of {', '.join(names)}"
            found.append(
                InputError("no such choice", where=option, found=value, wanted=wanted, nearest=nearest(value, names))
            )
    texts = (
        ("--description", said.description),
        ("--category", said.category),
        ("--image", said.image),
        ("--license", said.license),
        ("--author", said.author or None),
    )
    for option, text in texts:
        if text is not None and (finding := text_problem(option, text)):
            found.append(finding)
    if said.image and re.search(r"\s", said.image):
        found.append(
            InputError("not an image", where="--image", found=repr(said.image), wanted="a name without blanks")
        )
    needs_found: list[InputError] = []
    needs(said.needs, "--need", needs_found)
    found += [
        InputError(finding.message, where="--need", found=finding.found, wanted=finding.wanted)
        for finding in needs_found
    ]
    if said.needs and not said.on_host:
        found.append(InputError("for a host root alone", where="--need", wanted="--root host, or no --need"))
    seconds = said.agent_timeout
    if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
        found.append(
            InputError("not a time limit", where="--agent-timeout", found=f"{seconds:g}", wanted="seconds, more than 0")
        )
    return found


def text_problem(option: str, text: str) -> InputError | None:
    """What is wrong with a text that a TOML file is to hold; None where it can."""
    if not text.strip():
        return InputError("is empty", where=option, wanted="a text")
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        return InputError("not text", where=option, found=ascii(text)[:60], wanted="UTF-8 without NUL")
    return None


def filled(text: str, name: str, said: NewTask) -> str:
    """The table ``text`` of a template, for a task ``name`` of which ``said`` is said. That is free of problems."""
    text = toml.put(text, "task", "name", toml.string(name))
    for table, key, value in (
        ("task", "description", said.description),
        ("metadata", "category", said.category),
        ("metadata", "difficulty", said.difficulty),
        ("metadata", "license", said.license),
        ("environment", "docker_image", said.image),
    ):
        if value is not None:
            text = toml.put(text, table, key, toml.string(value))
    if said.author:
        text = toml.put(text, "task", "authors", f"[{_author(said.author)}]")
    if said.agent_timeout is not None:
        text = toml.put(text, "agent", "timeout_sec", toml.number(said.agent_timeout))
    if said.on_host:
        wanted = dict.fromkeys((*template(said.kind)[1].needs, *said.needs))
        return toml.put(text, "metadata.bakeoff", "needs", toml.array(wanted))
    text = toml.put(text, "metadata.bakeoff", "root", toml.string("image"))
    for key in ("needs", "files"):  # an image has its own commands and files
        text = toml.drop(text, "metadata.bakeoff", key)
    return text


def _author(text: str) -> str:
    match = _AUTHOR.fullmatch(text)
    if match is None:
        return f"{{ name = {toml.string(text)} }}"
    return f"{{ name = {toml.string(match['name'].strip())}, email = {toml.string(match['email'])} }}"
