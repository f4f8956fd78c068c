"""Tasks and datasets to start from: whole ones that pass, to be changed bit by bit."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bakeoff.errors import InputError, InputErrors
from bakeoff.files.remove import remove_path
from bakeoff.tasks import toml_text as toml
from bakeoff.tasks.datasets import load_task
from bakeoff.tasks.harbor import NAME
from bakeoff.tasks.manifest import MANIFEST, read_manifest
from bakeoff.tasks.new_table import TEMPLATES, NewTask, filled, problems, table_of, template, text_problem

DATASET_TOML = """\
# What this dataset is called, and what it is. Each folder beside this file is a task.
name = {name}
version = "1"
description = {description}
license = {license}
"""

_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


def new_task(folder: Path, said: NewTask | None = None) -> list[Path]:
    """Write a task named after ``folder`` into it, whole or not at all, and return its files.

    Raises InputError where something is there already, the name is none for a task, it cannot be written, or what is ``said``
    of the task is wrong.
    """
    said = said or NewTask()
    check_path(folder)
    _check(problems(said))
    return _whole(folder, lambda place: _write_task(place, folder.name, said))


def new_dataset(folder: Path, description: str, license: str, said: NewTask | None = None) -> list[Path]:
    """Write a dataset, which is a folder of tasks with a manifest, and return its files.

    Its first task, of which ``said`` is said, has the name of its template. Errors as ``new_task``.
    """
    said = said or NewTask()
    check_path(folder)
    texts = (text_problem("--description", description), text_problem("--license", license))
    _check([*filter(None, texts), *problems(said)])

    def write(place: Path) -> None:
        values = {"name": folder.name, "description": description, "license": license}
        table = DATASET_TOML.format_map({key: toml.string(value) for key, value in values.items()})
        (place / MANIFEST).write_text(table, encoding="utf-8")
        read_manifest(place)
        name, _ = template(said.kind)
        (place / name).mkdir()
        _write_task(place / name, name, said)

    return _whole(folder, write)


def check_path(folder: Path) -> None:
    """Raises InputError where ``folder`` cannot become a task or a dataset."""
    if not NAME.fullmatch(folder.name) or ".." in folder.name:
        wanted = "letters, digits, '.', '_' and '-', the first of them a letter or a digit"
        raise InputError(
            "not a name for a task or a dataset", where=str(folder), found=repr(folder.name), wanted=wanted
        )
    if os.path.lexists(folder):
        raise _taken(folder)
    above = next((parent for parent in folder.parents if os.path.lexists(parent)), None)
    if above is not None and not above.is_dir():
        raise InputError("not a folder", where=str(above), wanted="one to write into")


def _taken(folder: Path) -> InputError:
    return InputError("there is something of that name already", where=str(folder), wanted="a path that is free")


def _check(found: list[InputError]) -> None:
    if found:
        raise InputErrors(found)


def _write_task(place: Path, name: str, said: NewTask) -> None:
    """Into the empty folder ``place``."""
    ignored = shutil.ignore_patterns("__pycache__", "task.toml")
    shutil.copytree(TEMPLATES / said.kind, place, ignore=ignored, copy_function=_copy, dirs_exist_ok=True)
    (place / "task.toml").write_text(filled(table_of(said.kind), name, said), encoding="utf-8")
    load_task(place)


def _copy(source: str, target: str) -> None:
    shutil.copyfile(source, target)
    with open(target, "rb") as stream:
        script = stream.read(2) == b"#!"
    if script:
        # An installed package does not keep the bits.
        os.chmod(target, 0o755)


def _whole(folder: Path, write: Callable[[Path], None]) -> list[Path]:
    """Let ``write`` fill a folder beside ``folder``, then rename it. On any failure nothing is left of it, new parents included."""
    missing = [parent for parent in folder.parents if not os.path.lexists(parent)]
    place = folder.parent / f".{folder.name}.{secrets.token_hex(4)}"
    done = False
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir()
        write(place)
        os.rename(place, folder)
        done = True
    except OSError as error:
        if error.errno in _TAKEN and os.path.lexists(folder):
            raise _taken(folder) from None
        raise InputError(f"cannot be written: {error.strerror}", where=str(folder)) from None
    finally:
        if not done:
            if os.path.lexists(place):
                remove_path(place)
            for parent in missing:
                with suppress(OSError):
                    parent.rmdir()
    return sorted(path for path in folder.rglob("*") if path.is_file())
