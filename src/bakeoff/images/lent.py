"""The harness's own interpreter, lent to host roots of machines that have no ``python3`` in /usr."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from pathlib import Path

from bakeoff.home import home
from bakeoff.images.root import DEFAULT_PATH
from bakeoff.tasks.model import AGENT_FILES_DIR, DEFAULT_WORKDIR, PACKET_DIR, SOLUTION_DIR, TESTS_DIR

_NAME = "python3"
_TAKEN = (
    DEFAULT_WORKDIR,
    "/logs",
    TESTS_DIR,
    SOLUTION_DIR,
    PACKET_DIR,
    AGENT_FILES_DIR,
    "/proc",
    "/dev",
    "/sys",
    "/etc",
)


@functools.cache
def lent_interpreter() -> str | None:
    """The folder that a host root shows read-only at its own path: ``bin/python3`` and all that belongs to it.

    None where /usr has a ``python3``, and where the harness's own cannot be shown alone: with it would come folders of the
    user's, or something else belongs at its path.
    """
    found = shutil.which(_NAME, path=DEFAULT_PATH)
    if found is not None and os.path.realpath(found).startswith("/usr/"):
        return None
    # A virtual environment's interpreter lives by the one that it was made with.
    base = Path(os.path.realpath(sys.base_prefix))
    return str(base) if can_be_lent(base, (Path(os.path.expanduser("~")), home(), Path.cwd())) else None


def can_be_lent(base: Path, private: tuple[Path, ...]) -> bool:
    """Whether ``base`` is an interpreter's folder that holds none of ``private`` and lies where nothing else does."""
    program = Path(os.path.realpath(base / "bin" / _NAME))
    if len(base.parts) < 3 or base.is_relative_to("/usr") or not (program.is_relative_to(base) and program.is_file()):
        return False
    if any(base.is_relative_to(taken) for taken in _TAKEN):
        return False
    return not any(Path(os.path.realpath(path)).is_relative_to(base) for path in private)


def lent_env() -> dict[str, str]:
    """What the environment of commands holds for the lent interpreter to be found; nothing where none is."""
    lent = lent_interpreter()
    return {} if lent is None else {"PATH": f"{DEFAULT_PATH}:{lent}/bin"}
