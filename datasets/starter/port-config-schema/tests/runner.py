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
READABLE = (os.path.dirname(PROGRAM) + "/", os.path.dirname(os.__file__) + "/")
REFUSED = (
    "ctypes.", "gc.", "os.exec", "os.fork", "os.kill", "os.link", "os.posix_spawn", "os.rename", "os.spawn", "os.symlink",
    "os.system", "os.fchdir", "pty.", "socket.", "sqlite3.", "subprocess.", "_posixsubprocess.",
)  # fmt: skip
UNWANTED = frozenset(
    {"_ctypes", "ctypes", "_posixsubprocess", "subprocess", "_multiprocessing", "_sqlite3", "_testcapi"}
)


def guard(
    event: str,
    arguments: tuple[Any, ...],
    # All that it needs is bound here, once: the program could change globals and builtins.
    readable: tuple[str, ...] = READABLE,
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
        if kind(path) is not number and (kind(path) is not text or "/.." in path or not path.startswith(readable)):
            raise refusal("no file to be read here")
    elif event.startswith(refused) or (event == "import" and arguments[0] in unwanted):
        raise refusal("not allowed here")


sys.argv = [PROGRAM, FOLDER]
sys.path.insert(0, os.path.dirname(PROGRAM))
sys.addaudithook(guard)
del guard
runpy.run_path(PROGRAM, run_name="__main__")
