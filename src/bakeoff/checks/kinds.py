"""What a file is written in, as far as its name and its first bytes tell."""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["shell", "python", "other", "binary"]

_SHELL = re.compile(rb"#!\s*(?:\S*/)?(?:env\s+(?:-S\s+)?)?(?:ba|da|k|z|a)?sh\b")
_PYTHON = re.compile(rb"#!\s*(?:\S*/)?(?:env\s+(?:-S\s+)?)?(?:python|pypy)[\d.]*\b")


def kind_of(name: str, data: bytes) -> Kind:
    """The first line of a script says it before its name does."""
    # A NUL in a script is an author's slip; a program or an archive has one near its start.
    if b"\0" in data[:512]:
        return "binary"
    if data.startswith(b"#!"):
        return "python" if _PYTHON.match(data) else "shell" if _SHELL.match(data) else "other"
    if name.endswith(".py"):
        return "python"
    return "shell" if name.endswith((".sh", ".bash")) else "other"
