"""Run the agent's program as its own main program: ``runner.py PROGRAM FOLDER``, from a folder that holds only these two.

An audit hook, which code cannot take away again, lets it read this folder and Python's own library, and start nothing.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable
from typing import Any

PROGRAM, FOLDER = sys.argv[1:3]
LIBRARY = os.path.dirname(os.__file__) + "/"
READABLE = (os.path.dirname(PROGRAM) + "/", LIBRARY)
# A link into /etc, where it could be a link to anything.
CUSTOM = "customize.py"
REFUSED = (
    "ctypes.", "gc.", "os.exec", "os.fork", "os.kill", "os.link", "os.posix_spawn", "os.rename", "os.spawn", "os.symlink",
    "os.system", "os.fchdir", "pty.", "socket.", "sqlite3.", "subprocess.", "_posixsubprocess.",
    "cpython.PyInterpreterState_New",
)  # fmt: skip
UNWANTED = frozenset(
    {
        "_ctypes", "ctypes", "_posixsubprocess", "subprocess", "_multiprocessing", "_sqlite3", "_testcapi",
        "_testinternalcapi", "_interpreters", "_xxsubinterpreters",
    }
)  # fmt: skip


def guard(
    event: str,
    arguments: tuple[Any, ...],
    # All that it needs is bound here, once: the program could change globals and builtins.
    readable: tuple[str, ...] = READABLE,
    library: str = LIBRARY,
    custom: str = CUSTOM,
    refused: tuple[str, ...] = REFUSED,
    unwanted: frozenset[str] = UNWANTED,
    kind: Callable[[Any], type] = type,
    text: type = str,
    data: type = bytes,
    number: type = int,
    refusal: type[Exception] = PermissionError,
) -> None:
    if event == "open":
        path = arguments[0]
        if kind(path) is data:
            path = path.decode("utf-8", "replace")
        if kind(path) is not number and (
            kind(path) is not text or "/.." in path or not path.startswith(readable) or path.endswith(custom)
        ):
            raise refusal("no file to be read here")
    elif event.startswith(refused) or (
        # The second argument is the file of a compiled module, which could do anything.
        event == "import"
        and (arguments[0] in unwanted or (kind(arguments[1]) is text and not arguments[1].startswith(library)))
    ):
        raise refusal("not allowed here")


sys.argv = [PROGRAM, FOLDER]
sys.path.insert(0, os.path.dirname(PROGRAM))
sys.addaudithook(guard)
del guard
runpy.run_path(PROGRAM, run_name="__main__")
