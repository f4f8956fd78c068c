"""Read an agent's TOML file, and tell everything that is wrong with it at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import cast

from bakeoff.agents.installed.model import Definition, Option
from bakeoff.agents.installed.template import places
from bakeoff.errors import InputError, InputErrors, nearest
from bakeoff.tasks.decode import decode, join, sound

VERSION = "version"
"""The option that every installed agent has."""

MACHINE = ("version", "arch", "machine")
"""What is known when the agent is installed. ``arch`` is npm's word for the processor (x64, arm64), ``machine`` the kernel's."""

TRIAL = (
    *MACHINE,
    "bundle",
    "home",
    "workdir",
    "instruction",
    "instruction_file",
    "model",
    "provider",
    "base_url",
    "key",
)
"""What is known when the agent is run."""

_LISTS = ("options", "mcp")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}")
_MAX_SIZE = 1 << 20


def load(path: Path) -> Definition:
    """The agent in the file ``path``. Raises InputErrors for everything that is wrong with it."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(_MAX_SIZE + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    return parse(data, str(path))


def parse(data: bytes, where: str) -> Definition:
    """The agent in the bytes of a TOML file called ``where``. Raises InputErrors for everything that is wrong with it."""
    if len(data) > _MAX_SIZE:
        raise InputError("too large for an agent", where=where, wanted=f"at most {_MAX_SIZE} bytes")
    try:
        raw: dict[str, object] = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"no TOML: {error}", where=where) from None
    findings: list[InputError] = []
    table = cast("dict[str, object]", sound(raw, where, "", findings))
    definition, wrong = decode(Definition, table, where)
    findings += wrong
    if definition is not None:
        findings += _check(definition, where)
    if findings or definition is None:
        raise InputErrors(findings)
    return definition


def check_version(version: str) -> bool:
    """Whether this can be a version: it goes into commands of package managers and into a folder's name."""
    return _VERSION.fullmatch(version) is not None


def _check(definition: Definition, where: str) -> Iterator[InputError]:
    about, install = definition.agent, definition.install
    if not _NAME.fullmatch(about.name):
        wanted = "lower-case letters, digits, '.', '_', '-'"
        yield InputError("not a name", where=where, field="agent.name", found=repr(about.name), wanted=wanted)
    if not check_version(about.version):
        yield InputError("not a version", where=where, field="agent.version", found=repr(about.version))
    if about.verified != bool(about.verified_on) or (about.verified_on and not _DAY.fullmatch(about.verified_on)):
        wanted = "the day, YYYY-MM-DD, with verified = true, and none without"
        yield InputError("wrong day", where=where, field="agent.verified_on", found=about.verified_on, wanted=wanted)
    if about.verified and about.unverified:
        yield InputError("both verified and not", where=where, field="agent.unverified", found=about.unverified)
    if (about.runtime == "node") != bool(install.node):
        wanted = 'the version of node with runtime = "node", and none without'
        yield InputError("wrong version", where=where, field="install.node", found=install.node, wanted=wanted)
    if (about.runtime == "python") != bool(install.pip):
        wanted = 'packages with runtime = "python", and none without'
        yield InputError("wrong packages", where=where, field="install.pip", wanted=wanted)
    if not definition.run.command:
        yield InputError("empty", where=where, field="run.command", wanted="the program and its arguments")
    yield from _check_paths(definition, where)
    yield from _check_options(definition.options, where)
    for field, text, known in _templates(definition):
        for name in places(text):
            if name not in known:
                wanted = ", ".join(f"{{{name}}}" for name in known)
                near = nearest(name, known)
                yield InputError(
                    "unknown place", where=where, field=field, found=f"{{{name}}}", wanted=wanted, nearest=near
                )


def _check_paths(definition: Definition, where: str) -> Iterator[InputError]:
    inside: list[tuple[str, str]] = [(join("run.files", path), path) for path in definition.run.files]
    if definition.mcp is not None:
        inside.append(("mcp.file", definition.mcp.file))
    for field, path in inside:
        if not path.startswith("{home}/") or ".." in path.split("/") or path.endswith("/"):
            yield InputError("not a file of the agent's home", where=where, field=field, found=path, wanted="{home}/…")
    folder = definition.skills.folder if definition.skills else "/"
    if not folder.startswith(("{home}/", "/")) or ".." in folder.split("/"):
        yield InputError(
            "not an absolute path", where=where, field="skills.folder", found=folder, wanted="{home}/… or /…"
        )
    for index, path in enumerate(definition.logs.paths):
        if not path.startswith(("{home}/", "/")) or ".." in path.split("/"):
            at = f"logs.paths[{index}]"
            yield InputError("not an absolute path", where=where, field=at, found=path, wanted="{home}/… or /…")
    for name, candidates in definition.install.programs.items():
        field = join("install.programs", name)
        if not _NAME.fullmatch(name):
            yield InputError("not a name", where=where, field=field)
        if not candidates:
            yield InputError("empty", where=where, field=field, wanted="paths in the bundle")
        for path in candidates:
            if path.startswith("/") or ".." in path.split("/"):
                yield InputError("not a path in the bundle", where=where, field=field, found=path)


def _check_options(options: Mapping[str, Option], where: str) -> Iterator[InputError]:
    for name, option in options.items():
        field = join("options", name)
        if name == VERSION or not _NAME.fullmatch(name):
            wanted = f"lower-case letters, digits, '.', '_', '-', and not {VERSION!r}, which every agent has"
            yield InputError("not a name for an option", where=where, field=field, wanted=wanted)
        if not option.args and not option.env:
            yield InputError("an option that does nothing", where=where, field=field, wanted="args or env")
        if option.default is not None and option.values and option.default not in option.values:
            wanted = ", ".join(option.values)
            yield InputError(
                "wrong default", where=where, field=f"{field}.default", found=option.default, wanted=wanted
            )


def _templates(definition: Definition) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Every text with places: its field, itself, and the names that it may use."""
    install, run, mcp = definition.install, definition.run, definition.mcp
    for kind in ("npm", "pip", "apt", "steps", "drop"):
        yield from _each(f"install.{kind}", getattr(install, kind), MACHINE)
    for name, candidates in install.programs.items():
        yield from _each(join("install.programs", name), candidates, MACHINE)
    for index, text in enumerate(run.command):
        whole = tuple(name for name in _LISTS if text == f"{{{name}}}" and (name != "mcp" or mcp is not None))
        yield f"run.command[{index}]", text, (*TRIAL, *whole)
    yield "run.stdin", run.stdin, TRIAL
    for name, text in run.env.items():
        yield join("run.env", name), text, TRIAL
    for path, text in run.files.items():
        yield join("run.files", path), path + text, TRIAL
    for name, option in definition.options.items():
        yield from _each(join("options", name) + ".args", option.args, (*TRIAL, "value"))
        for variable, text in option.env.items():
            yield join(join("options", name) + ".env", variable), text, (*TRIAL, "value")
    if definition.skills is not None:
        yield "skills.folder", definition.skills.folder, ("home", "workdir")
    if mcp is not None:
        yield "mcp.file", mcp.file, ("home",)
        yield from _each("mcp.args", mcp.args, ("home",))
    yield from _each("logs.paths", definition.logs.paths, ("home", "workdir"))


def _each(field: str, texts: Iterable[str], known: tuple[str, ...]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for index, text in enumerate(texts):
        yield f"{field}[{index}]", text, known
