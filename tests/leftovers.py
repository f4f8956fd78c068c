"""What harnesses have left on the machine: processes, mounts, folders and control groups."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bakeoff.home import home
from bakeoff.sandboxes import live
from bakeoff.sandboxes.zygote import folders, places

_DYING = 5.0  # seconds


@contextmanager
def none_expected(mark: str, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """At its end there is no process, no mount, and after a sweep no folder and no group of the harnesses that ran meanwhile.

    ``mark`` is a word in the command lines of what ran inside.
    """
    tokens: list[str] = []

    class Noted(live.LiveFolder):
        def __init__(self) -> None:
            super().__init__()
            tokens.append(self.path.name)

    monkeypatch.setattr(live, "LiveFolder", Noted)
    before = children()
    yield
    assert children() <= before
    deadline = time.monotonic() + _DYING
    while (left := _left(mark, tokens)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left == []


def _left(mark: str, tokens: Collection[str]) -> list[str]:
    """After a sweep. Where what ends the others was killed itself, the kernel may still be at it."""
    live.reap("", live.folder())
    folders_left = [token for token in tokens if (home() / "sandboxes" / token).exists()]
    return [*processes(mark), *(line for token in tokens for line in mounts(token)), *folders_left, *groups(tokens)]


def children() -> set[int]:
    """The processes that this one is the parent of, the dead included that nobody has reaped."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for path in tasks for pid in path.read_text().split()}


def processes(words: str) -> list[str]:
    """The command lines that contain the words, whatever separates their arguments."""
    return [line for path in Path("/proc").glob("[0-9]*/cmdline") if words in (line := _read(path).replace("\0", " "))]


def mounts(words: str) -> list[str]:
    """The mounts, of any process, in which the words occur."""
    found = [_read(path) for path in Path("/proc").glob("[0-9]*/mountinfo")]
    return [line for text in found for line in text.splitlines() if words in line]


def groups(tokens: Collection[str]) -> list[str]:
    """The control groups of the harnesses whose live folders have these names."""
    tops = {mount.point for mount in places.mounts(places.read("/proc/self/mountinfo"))}
    names = {folders.PREFIX + token for token in tokens}
    return [f"{path}/{name}" for top in tops for path, below, _ in os.walk(top) for name in names.intersection(below)]


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""  # it has ended meanwhile
