"""What ``bakeoff leak-check`` finds."""

from __future__ import annotations

from msgspec import Struct

from bakeoff.records.results import SCHEMA_VERSION


class LeakFound(Struct, frozen=True, kw_only=True):
    """A secret in a file. ``file`` is relative to the path that was looked through, ``line`` counts from 1.

    ``kind`` is the name of the variable whose value it is, or what it looks like, as ``by`` says. ``masked`` never has more than its first
    letters.
    """

    file: str
    line: int
    kind: str
    by: str
    masked: str


class LeakNote(Struct, frozen=True, kw_only=True):
    """A file that was not looked into, or not to its end, and why."""

    file: str
    message: str


class LeakReport(Struct, frozen=True, kw_only=True):
    """``leak-check --format json``. ``tracked``: only what git tracks was looked at.

    ``allowed`` counts the times that an exact rule let a value through.
    """

    schema_version: str = SCHEMA_VERSION
    path: str
    tracked: bool
    ok: bool
    files: int
    allowed: int
    findings: tuple[LeakFound, ...]
    notes: tuple[LeakNote, ...]
