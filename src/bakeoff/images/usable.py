"""Whether a folder can be the root file system of a sandbox on this machine."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from bakeoff.errors import ImageError
from bakeoff.files import inside
from bakeoff.images.machines import HEADER, foreign

_SHELL = "/bin/sh"
_MOUNTED = (
    "proc",
    "dev",
    "tmp",
    "tests",
    "logs",
    "logs/verifier",
)  # a sandbox has its own there, and never through a link


def check_usable(folder: Path, named: str) -> os.stat_result:
    """The state of a root's folder. Raises ImageError about ``named`` where no sandbox could run on it, or no shell in it."""
    try:
        root = os.open(folder, inside.FOLDER)
    except OSError as error:
        raise ImageError(f"{named} cannot be read as a root file system: {error.strerror}") from error
    try:
        for name in _MOUNTED:
            if _is_link(root, name):
                raise ImageError(f"{named} has a link at /{name}, where a sandbox mounts its own: make it a folder")
        _check_shell(root, named)
        return os.fstat(root)
    finally:
        os.close(root)


def _is_link(folder: int, name: str) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _check_shell(root: int, named: str) -> None:
    """A link for the shell is followed as inside: nothing outside the root is looked at."""
    try:
        shell = inside.open_inside(root, _SHELL, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except PermissionError as error:
        raise ImageError(f"{named} cannot be read as a root file system: {_SHELL}: {error.strerror}") from error
    except OSError as error:
        raise ImageError(f"{named} has no {_SHELL}, so it is not a root file system") from error
    try:
        found = os.fstat(shell)
        if not stat.S_ISREG(found.st_mode) or not found.st_mode & 0o111:
            raise ImageError(f"{named} is not a root file system: its {_SHELL} is no program")
        if machines := foreign(os.read(shell, HEADER)):
            theirs, ours = machines
            raise ImageError(
                f"{named} is a root file system for {theirs}, and this machine is {ours}: take one for {ours}, "
                "or install an emulator (Debian, Ubuntu: apt-get install qemu-user-static)"
            )
    finally:
        os.close(shell)
