"""Counting what a folder holds, while what lies in it may change."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bakeoff.sandboxes.zygote import usage
from bakeoff.sandboxes.zygote.usage import Count

NEVER = math.inf


def counted(folder: Path, most_bytes: int = 1 << 40, most_entries: int = 1 << 30, deadline: float = NEVER) -> Count:
    count = Count(most_bytes, most_entries, deadline)
    top = os.open(folder, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    try:
        usage.add_tree(top, count)
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        os.close(top)
    return count


def tree(place: Path, depth: int) -> Path:
    """Folders below each other, each with a file of 4 KiB before and one after it by name."""
    here = place / "top"
    here.mkdir()
    top = os.open(here, os.O_RDONLY)
    try:
        for _ in range(depth):
            for name in ("a", "z"):
                fd = os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=top)
                os.write(fd, bytes(4096))
                os.close(fd)
            os.mkdir("m", dir_fd=top)
            below = os.open("m", os.O_RDONLY, dir_fd=top)
            os.close(top)
            top = below
    finally:
        os.close(top)
    return here


@pytest.mark.parametrize("depth", [1, 99, 100, 101, 350])
def test_it_counts_what_du_counts(tmp_path: Path, depth: int) -> None:
    top = tree(tmp_path, depth)
    os.link(top / "a", top / "second")
    os.symlink("/usr", top / "link")
    os.truncate(top / "z", 1 << 40)  # a hole
    count = counted(top)
    du = subprocess.run(["du", "-s", "-B1", top], capture_output=True, text=True, check=True).stdout
    assert count.bytes == int(du.split()[0])
    assert count.entries == 1 + 3 * depth + 2
    assert count.whole


def test_it_stops_where_it_knows_enough(tmp_path: Path) -> None:
    top = tree(tmp_path, 50)
    few, small = counted(top, most_entries=20), counted(top, most_bytes=10_000)
    assert (few.entries, few.whole, small.whole) == (21, False, False)
    assert small.entries < 10
    late = counted(tree(top, 600), deadline=0)
    assert (late.whole, late.entries) == (False, 512)


def test_a_folder_that_is_moved_away_meanwhile_leads_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top, outside = tree(tmp_path, 300), tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(bytes(1 << 20))
    real, moved = os.open, [top.joinpath(*["m"] * 250)]

    def opened(path: str, flags: int, *args: int, dir_fd: int | None = None) -> int:
        if path == ".." and moved:
            moved.pop().rename(outside / "moved")  # what was 250 levels deep now has another folder above it
        return real(path, flags, *args, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", opened)
    count = counted(top)
    assert not moved
    assert not count.whole
    assert 250 * 8192 < count.bytes < 1 << 22
    assert count.entries <= 1 + 3 * 300


def test_what_vanishes_meanwhile_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tree(tmp_path, 5)
    real, there = os.open, [top / "m"]

    def opened(path: str, flags: int, *args: int, dir_fd: int | None = None) -> int:
        if path == "m" and there:
            shutil.rmtree(there.pop())
        return real(path, flags, *args, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", opened)
    assert (counted(top).entries, there) == (4, [])


HOLD = """
import mmap, os, sys
place, kind = sys.argv[1:]
fd = os.open(place, os.O_TMPFILE | os.O_RDWR)
os.write(fd, bytes(1 << 20))
memory = os.memfd_create("x")
os.write(memory, bytes(1 << 20))
if kind == "mapped":
    kept = mmap.mmap(fd, 1 << 20)
    os.close(fd)
else:
    os.dup(fd)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["open", "mapped"])
def test_files_without_a_name_are_found_through_whoever_holds_them(tmp_path: Path, kind: str) -> None:
    if kind == "mapped" and os.geteuid() != 0:
        pytest.skip("only root may look at what others have mapped")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        count = Count(1 << 40, 1 << 30, NEVER)
        usage.add_nameless([holder.pid, 1 << 22], count)
        assert (count.entries > 0, count.bytes >> 20) == (True, 1)  # once, and not what is in memory alone
    finally:
        holder.communicate()
