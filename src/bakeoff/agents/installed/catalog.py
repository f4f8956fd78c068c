"""Installed agents by name: those that come with bakeoff, the user's own, and files that are named by their path."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from bakeoff.agents.installed.load import load
from bakeoff.agents.installed.model import Definition
from bakeoff.errors import InputError
from bakeoff.home import home

_SHIPPED = Path(__file__).parent / "data"
SUFFIX = ".toml"


class Listed(Struct, frozen=True):
    """An agent and where it is defined. ``problem`` says what is wrong with a file of the user's."""

    name: str
    path: Path
    definition: Definition | None = None
    problem: str = ""


def is_path(name: str) -> bool:
    """Whether ``name`` means a file."""
    return name.endswith(SUFFIX)


def names() -> list[str]:
    """The names of all that are shipped or the user's, sorted, from the names of the files alone."""
    return sorted(_files())


def find(name: str) -> Definition | None:
    """The agent of that name (the user's before the shipped) or at that path; None for an unknown name.

    Raises InputErrors for a wrong file.
    """
    if is_path(name):
        return load(Path(name))
    file = _files().get(name)
    return None if file is None else _named(file)


def listed() -> list[Listed]:
    """Every agent that is shipped or the user's, with what is wrong with those that cannot be read."""
    found: list[Listed] = []
    for name, path in sorted(_files().items()):
        try:
            found.append(Listed(name, path, _named(path)))
        except InputError as error:
            found.append(Listed(name, path, problem=str(error)))
    return found


def shipped() -> list[Definition]:
    """Every agent that comes with bakeoff, sorted by name."""
    return [_named(file) for file in sorted(_SHIPPED.glob(f"*{SUFFIX}"))]


def _files() -> dict[str, Path]:
    folders = (_SHIPPED, home() / "agents")
    return {file.name.removesuffix(SUFFIX): file for folder in folders for file in sorted(folder.glob(f"*{SUFFIX}"))}


def _named(file: Path) -> Definition:
    definition = load(file)
    wanted = file.name.removesuffix(SUFFIX)
    if definition.agent.name != wanted:
        found = repr(definition.agent.name)
        raise InputError(
            "not the name of the file", where=str(file), field="agent.name", found=found, wanted=repr(wanted)
        )
    return definition
