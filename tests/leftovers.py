"""What harnesses have left on the machine: processes, mounts, folders and control groups."""

from __future__ import annotations

import os
from collections.abc import Collection, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bakeoff.home import home
from bakeoff.sandboxes import live
from bakeoff.sandboxes.zygote import folders, places


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
    assert processes(mark) == []
    live.reap("", live.folder())
    for token in tokens:
        assert mounts(token) == []
        assert not (home() / "sandboxes" / token).exists()
    assert groups(tokens) == []


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
