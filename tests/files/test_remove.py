"""Removing what a sandbox leaves, however deep, and while the kernel may still be at work in it."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakeoff.files.inside import FOLDER
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


@pytest.fixture
def place(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, FOLDER)
    yield fd
    os.close(fd)


def deepen(top: Path, levels: int) -> None:
    """Folders of odd modes in folders, with something beside each, beyond any path's length."""
    top.mkdir()
    here = os.open(top, FOLDER)
    for level in range(levels):
        os.mkdir("deeper" * 10, dir_fd=here)
        os.mkdir(f"a{level}", 0, dir_fd=here)
        os.close(os.open("z", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        below = os.open("deeper" * 10, FOLDER, dir_fd=here)
        os.fchmod(here, 0o500 if level % 3 else 0)
        os.close(here)
        here = below
    os.close(here)


def test_depth_beyond_any_path_and_closed_folders_are_removed_with_few_descriptors(
    tmp_path: Path, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    deepen(tmp_path / "t", 300)
    before, most, real = len(os.listdir("/proc/self/fd")), [0], os.rmdir

    def removed(name: bytes, *, dir_fd: int) -> None:
        most[0] = max(most[0], len(os.listdir("/proc/self/fd")))
        real(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", removed)
    remove(place, "t")
    monkeypatch.undo()
    assert os.listdir(tmp_path) == []
    assert 0 < most[0] - before < 40
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("defended", [True, False], ids=["defended", "with the defence off"])
def test_a_folder_that_is_moved_out_meanwhile_takes_nothing_of_its_new_place_along(
    tmp_path: Path, place: int, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    """Its ``..`` is then another folder, in which names that were to go stand too."""
    deepen(tmp_path / "t", 60)
    (tmp_path / "keep" / "a19").mkdir(parents=True)
    (tmp_path / "keep" / "z").touch()
    real_rmdir, real_list, done = os.rmdir, os.listdir, list[int]()

    def listed(folder: int) -> list[str]:
        return sorted(real_list(folder), key=lambda name: name.startswith("deeper"))  # the last is taken first

    def removed(name: bytes, *, dir_fd: int) -> None:
        if not done:  # at the bottom: a folder on the way, whose own is closed by now, goes elsewhere
            done.append(1)
            os.rename(tmp_path.joinpath("t", *["deeper" * 10] * 20), tmp_path / "keep" / "moved")
        real_rmdir(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "listdir", listed)
    monkeypatch.setattr(os, "rmdir", removed)
    if not defended:
        up = staticmethod(lambda below, _folder: os.open("..", FOLDER, dir_fd=below))
        monkeypatch.setattr("bakeoff.files.remove._Removal._reopen", up)
    remove(place, "t")
    monkeypatch.undo()
    assert done
    assert ({"z", "a19"} <= set(os.listdir(tmp_path / "keep"))) == defended
    assert not (tmp_path / "t").exists() or not defended


def test_removal_looks_at_each_name_once_however_many_there_are(
    tmp_path: Path, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        (tmp_path / "t" / f"d{number}").mkdir(parents=True)
    listed, real = [0], os.listdir

    def counted(folder: int) -> list[str]:
        listed[0] += 1
        return real(folder)

    monkeypatch.setattr(os, "listdir", counted)
    remove(place, "t")
    assert listed[0] == 301


def test_a_file_that_may_not_be_removed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    (tmp_path / "f").touch()

    def refused(*_args: object, **_more: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", "f")

    monkeypatch.setattr(os, "unlink", refused)
    with pytest.raises(PermissionError):
        remove(place, "f")
