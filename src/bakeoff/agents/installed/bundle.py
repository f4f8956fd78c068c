"""What an agent is made of, installed once in a folder of its own that every sandbox can be shown."""

from __future__ import annotations

import fcntl
import os
import platform
import stat
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from bakeoff.agents.installed import packages
from bakeoff.agents.installed.elf import loader
from bakeoff.agents.installed.model import Definition, Install
from bakeoff.agents.installed.runtimes import PYTHON, SITE, lay_libraries, lay_node, lay_python
from bakeoff.agents.installed.template import fill
from bakeoff.agents.request import digest_of
from bakeoff.errors import NO_SPACE, InputError
from bakeoff.files.atomic import write_json
from bakeoff.files.hashing import hash_tree
from bakeoff.files.remove import remove_path
from bakeoff.home import home

STAMP = "bundle.json"
_FORM = 1
"""Changes with the way in which bundles are made: those made in another way are made anew."""
_STAGING = ".new-"
_ARCH = {"x86_64": "x64", "aarch64": "arm64"}

_CHOOSE = """#!/bin/sh
# The first of these whose loader is here.
here=${{0%/*}}/..
{choices}
echo "{name}: this root has none of the loaders that it needs: {loaders}" >&2
exit 126
"""


class Stamp(Struct, frozen=True):
    """``content`` is the sha256 of all files of the bundle, ``bytes`` their size. ``packages`` are those that came, with versions.

    Of each group of ``loaders`` (paths in the sandbox) its root must have one.
    """

    name: str
    version: str
    key: str
    content: str
    bytes: int
    seconds: float
    packages: tuple[str, ...] = ()
    loaders: tuple[tuple[str, ...], ...] = ()


class BundleState(Struct, frozen=True):
    """Where an agent's bundle is or would be; ``stamp`` is None where it has not been made yet."""

    path: Path
    stamp: Stamp | None = None


def machine_values(version: str) -> dict[str, str]:
    """What the places of a TOML file stand for at installation."""
    machine = platform.machine()
    return {"version": version, "arch": _ARCH.get(machine, machine), "machine": machine}


def bundle_key(definition: Definition, version: str) -> str:
    """A digest over all that decides what comes into the bundle, apart from what package indexes answer."""
    runtime = PYTHON if definition.agent.runtime == "python" else ""
    return digest_of(
        _FORM, definition.agent.name, definition.agent.runtime, definition.install, machine_values(version), runtime
    )


def bundle_state(definition: Definition, version: str) -> BundleState:
    """Where the bundle is, and what is in it. Nothing is made."""
    key = bundle_key(definition, version)
    path = home() / "bundles" / f"{definition.agent.name}-{version}-{key.partition(':')[2][:16]}"
    try:
        stamp = msgspec.json.decode((path / STAMP).read_bytes(), type=Stamp)
    except (OSError, msgspec.MsgspecError):
        return BundleState(path)
    return BundleState(path, stamp if stamp.key == key else None)


def prepare(definition: Definition, version: str, note: Callable[[str], None]) -> BundleState:
    """Make the bundle, unless it is there: then no client is called and no network is needed.

    One process makes it, others wait; a kill leaves nothing that looks whole, and what it leaves is swept by the next.
    Raises InputError where a client is missing or fails.
    """
    state = bundle_state(definition, version)
    if state.stamp is not None:
        return state
    what = f"{definition.agent.name} {version}"
    try:
        state.path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(state.path):
            if (state := bundle_state(definition, version)).stamp is not None:
                return state
            for left in state.path.parent.glob(f"{_STAGING}{state.path.name}-*"):
                remove_path(left)
            remove_path(state.path)
            note(f"installing {what} once, into {state.path}")
            _make(definition, version, state.path, what)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise InputError("no space left for an agent's bundle", where=str(state.path.parent), found=what) from None
        raise InputError(
            f"a bundle cannot be made: {error.strerror or error}", where=str(error.filename or state.path)
        ) from None
    return bundle_state(definition, version)


def _make(definition: Definition, version: str, place: Path, what: str) -> None:
    began = time.monotonic()
    staging = Path(tempfile.mkdtemp(prefix=f"{_STAGING}{place.name}-", dir=place.parent))
    try:
        staging.chmod(0o755)
        loaders = _fill(definition, staging, machine_values(version), what)
        size = _settle(staging)
        stamp = Stamp(
            name=definition.agent.name,
            version=version,
            key=bundle_key(definition, version),
            content="sha256:" + hash_tree(str(staging)),
            bytes=size,
            seconds=round(time.monotonic() - began, 3),
            packages=_packages(staging),
            loaders=loaders,
        )
        write_json(staging / STAMP, stamp)
        staging.rename(place)
    finally:
        remove_path(staging)


def _fill(definition: Definition, bundle: Path, values: dict[str, str], what: str) -> tuple[tuple[str, ...], ...]:
    """The loaders of which the sandbox must have one, for each program that needs any."""
    runtime = definition.agent.runtime
    install = _resolved(definition.install, values)
    if runtime == "python":
        lay_python(bundle)
        packages.pip(bundle / SITE, install.pip, what, exact=install.exact)
    if runtime == "node":
        lay_node(bundle, packages.node_program(bundle, install.node, values["arch"], what))
        packages.forget_node(bundle)
    if install.npm:
        packages.npm(bundle, install.npm, what)
    if install.apt:
        packages.apt(bundle, install.apt, what)
    packages.steps(bundle, install.steps, what)
    for pattern in install.drop:
        for path in sorted(bundle.glob(pattern)):
            remove_path(path)
    if runtime == "python":
        lay_libraries(bundle)
        packages.compile_python(bundle / "lib" / PYTHON)
    return tuple(
        needed for name, candidates in install.programs.items() if (needed := _choose(bundle, name, candidates, what))
    )


def _resolved(install: Install, values: dict[str, str]) -> Install:
    def each(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(fill(text, values) for text in texts)

    return Install(
        npm=each(install.npm),
        pip=each(install.pip),
        exact=install.exact,
        apt=each(install.apt),
        steps=each(install.steps),
        drop=each(install.drop),
        programs={name: each(candidates) for name, candidates in install.programs.items()},
        node=install.node,
    )


def _choose(bundle: Path, name: str, candidates: tuple[str, ...], what: str) -> tuple[str, ...]:
    """Make ``bin/<name>``: a script that becomes the first candidate that can run where it is. The loaders of which it needs one."""
    choices: list[str] = []
    loaders: list[str] = []
    for candidate in candidates:
        path = bundle / candidate
        if not path.is_file():
            raise InputError(
                "the packages do not have this program", where=what, field=f"install.programs.{name}", found=candidate
            )
        path.chmod(0o755)
        named = loader(path)
        loaders += [named] if named else []
        choices.append((f"[ -e {named} ] && " if named else "") + f'exec "$here/{candidate}" "$@"')
    start = bundle / "bin" / name
    start.parent.mkdir(exist_ok=True)
    start.write_text(_CHOOSE.format(choices="\n".join(choices), name=name, loaders=", ".join(loaders)))
    start.chmod(0o755)
    return tuple(loaders) if len(loaders) == len(candidates) else ()


def _settle(bundle: Path) -> int:
    """Let everybody read what is in the bundle and nobody else write it; its size in bytes."""
    size = 0
    for above, folders, files in os.walk(bundle):
        for name in (*folders, *files):
            path = os.path.join(above, name)
            info = os.lstat(path)
            if stat.S_ISLNK(info.st_mode):
                continue
            size += info.st_size if stat.S_ISREG(info.st_mode) else 0
            run = 0o111 if info.st_mode & 0o111 else 0
            os.chmod(path, 0o755 if stat.S_ISDIR(info.st_mode) else 0o644 | run)
    return size


def _packages(bundle: Path) -> tuple[str, ...]:
    """``name version`` of every package that came, of npm's, of pip's and of apt's."""
    found: set[str] = set()
    if (bundle / packages.APT_LIST).is_file():
        found.update((bundle / packages.APT_LIST).read_text().splitlines())
    for file in (bundle / "npm").glob("**/node_modules/**/package.json") if (bundle / "npm").is_dir() else ():
        if file.parent.parent.name != "node_modules" and file.parent.parent.parent.name != "node_modules":
            continue
        try:
            package = msgspec.json.decode(file.read_bytes(), type=_Package)
        except (OSError, msgspec.MsgspecError):
            continue
        found.add(f"{package.name} {package.version}")
    for folder in (bundle / SITE).glob("*.dist-info"):
        found.add(" ".join(folder.name.removesuffix(".dist-info").rsplit("-", 1)))
    return tuple(sorted(found))


class _Package(Struct):
    name: str
    version: str


@contextmanager
def _alone(path: Path) -> Generator[None]:
    lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
