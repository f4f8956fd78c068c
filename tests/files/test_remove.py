"""Removing what a sandbox leaves, however deep, and while the kernel may still be at work in it."""

import os
from pathlib import Path

import pytest

from bakeoff.files.remove import remove


def test_what_goes_or_comes_while_a_tree_is_removed_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "w" / "work"
    work.mkdir(parents=True)
    for name in ("#1", "#2", "kept"):
        (work / name).touch()
    real_list, real_rmdir, late = os.listdir, os.rmdir, [1]

    def listed(folder: int) -> list[str]:
        names = real_list(folder)
        if "#1" in names:
            os.unlink("#1", dir_fd=folder)  # the kernel takes one away after it was listed
        return names

    def removed(name: bytes, *, dir_fd: int) -> None:
        if os.fsdecode(name) == "work" and not real_list(work) and late:
            late.pop()
            (work / "#3").touch()  # and puts one there before the folder goes
        real_rmdir(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "listdir", listed)
    monkeypatch.setattr(os, "rmdir", removed)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        remove(folder, "w")
    finally:
        os.close(folder)
    assert not late
    assert not (tmp_path / "w").exists()
