"""Node and Python as a bundle carries them: with the loader and the libraries that they need, so that the sandbox needs neither."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from bakeoff.agents.installed.elf import is_program, loader
from bakeoff.errors import InputError

LIBRARIES = "lib/shared"
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
SITE = f"lib/{PYTHON}/site-packages"
_LOADER = "loader"
_FOUND = re.compile(r"=> (/.*) \(0x[0-9a-f]+\)$", re.MULTILINE)
_WITHIN = 60.0  # seconds
_LEFT_OUT = (
    "__pycache__", "dist-packages", "ensurepip", "idlelib", "lib2to3", "site-packages", "test", "tests", "tkinter", "turtledemo",
    "config-*", "_tkinter*", "sitecustomize.py", "usercustomize.py", "EXTERNALLY-MANAGED",
)  # fmt: skip

_RUN = """#!/bin/sh
# By the bundle's own loader and libraries; what it starts finds nothing of them in its environment.
here=${{0%/*}}/..
exec "$here/{libraries}/{loader}" --library-path "$here/{libraries}" --argv0 "$0" "$here/{program}"{arguments} "$@"
"""

_CUSTOMIZE = """import os, site
site.addsitedir(os.path.join(os.path.dirname(__file__), "site-packages"))
"""

_EXEC_PATH = """// Seen from inside, the program is its loader: what starts node again must start it as this was started.
process.execPath = require("path").resolve(__dirname, "../bin/node");
"""


def lay_python(bundle: Path) -> None:
    """The Python that runs this, with its standard library, as ``bin/python3``. It sees ``SITE`` and no other packages.

    It runs isolated: neither variables nor the working folder change what it imports. Raises InputError where it cannot be copied.
    """
    program = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
    library = bundle / "lib" / PYTHON
    try:
        shutil.copytree(
            sysconfig.get_path("stdlib"), library, ignore=shutil.ignore_patterns(*_LEFT_OUT), symlinks=False
        )
        (bundle / SITE).mkdir()
        (library / "sitecustomize.py").write_text(_CUSTOMIZE)
        _lay(bundle, "python3", program, (library / "lib-dynload").glob("*.so"), " -I")
    except (OSError, shutil.Error) as error:
        raise InputError(f"this machine's Python cannot be copied: {error}", where=str(program)) from None


def lay_node(bundle: Path, program: Path) -> None:
    """The node at ``program`` as ``bin/node``. Raises InputError where what it needs is not on this machine."""
    (bundle / "lib").mkdir(exist_ok=True)
    (bundle / "lib" / "exec-path.cjs").write_text(_EXEC_PATH)
    _lay(bundle, "node", program, (), ' --require "$here/lib/exec-path.cjs"')


def _lay(bundle: Path, name: str, program: Path, extensions: Iterable[Path], arguments: str) -> None:
    folder = bundle / LIBRARIES
    folder.mkdir(parents=True, exist_ok=True)
    (bundle / "bin").mkdir(exist_ok=True)
    named = loader(program)
    if named is None:
        raise InputError("not a program with a dynamic loader of this machine", where=str(program))
    shutil.copyfile(os.path.realpath(named), folder / _LOADER)
    (folder / _LOADER).chmod(0o755)
    for library in libraries(named, [program, *extensions]):
        shutil.copyfile(os.path.realpath(library), folder / library.name)
    inside = f"lib/{name}"
    shutil.copyfile(program, bundle / inside)
    (bundle / inside).chmod(0o755)
    start = bundle / "bin" / name
    start.write_text(_RUN.format(libraries=LIBRARIES, loader=_LOADER, program=inside, arguments=arguments))
    start.chmod(0o755)


def lay_libraries(bundle: Path) -> None:
    """The shared libraries that packages in the bundle's Python expect of the system, as far as this machine has them."""
    folder = bundle / LIBRARIES
    for library in libraries(str(folder / _LOADER), (bundle / SITE).glob("**/*.so*")):
        inside = folder / library.name
        if not library.is_relative_to(bundle) and not inside.exists():
            shutil.copyfile(os.path.realpath(library), inside)


def libraries(named: str, programs: Iterable[Path]) -> list[Path]:
    """Every shared library of this machine that the loader ``named`` finds for ``programs``."""
    found: set[Path] = set()
    for program in programs:
        if not program.is_file() or not is_program(program):
            continue
        line = [named, "--list", str(program)]
        listed = subprocess.run(line, capture_output=True, text=True, errors="replace", timeout=_WITHIN, check=False)
        found.update(Path(os.path.normpath(path)) for path in _FOUND.findall(listed.stdout))
    return sorted(found)
