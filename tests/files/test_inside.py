"""Resolution inside a root: links, ``..`` and removal stay in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.files import inside
from bakeoff.files.remove import remove


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("outside")
    (tmp_path / "root" / "etc").mkdir(parents=True)
    (tmp_path / "root" / "etc" / "f").write_text("inside")
    return tmp_path


@pytest.fixture
def root(place: Path) -> Iterator[int]:
    fd = os.open(place / "root", inside.FOLDER)
    yield fd
    os.close(fd)


def text(root: int, path: str) -> str:
    with open(inside.open_inside(root, path, os.O_RDONLY)) as stream:
        return stream.read()


def test_absolute_paths_and_links_start_at_the_root(place: Path, root: int) -> None:
    (place / "root" / "abs").symlink_to("/etc/f")
    (place / "root" / "up").symlink_to("../../../../etc/f")
    for path in ("etc/f", "/etc/f", "abs", "up", "../../etc/f", "/../etc/f"):
        assert text(root, path) == "inside"


def test_what_is_outside_is_not_there(place: Path, root: int) -> None:
    (place / "root" / "out").symlink_to(place / "secret")
    (place / "root" / "up").symlink_to("../secret")
    for path in ("out", "up", "../secret", str(place / "secret")):
        with pytest.raises(FileNotFoundError):
            inside.open_inside(root, path, os.O_RDONLY)


def test_magic_links_are_refused() -> None:
    top = os.open("/", inside.FOLDER)
    try:
        with pytest.raises(OSError, match="Too many levels"):
            inside.open_inside(top, "/proc/self/root/etc/passwd", os.O_RDONLY)
    finally:
        os.close(top)


def test_missing_folders_are_made_below_links_of_the_root(place: Path, root: int) -> None:
    (place / "root" / "l").symlink_to("/etc")
    os.close(inside.open_folder(root, "/l/a/b", mode=0o710))
    assert (place / "root" / "etc" / "a" / "b").stat().st_mode & 0o7777 == 0o710
    with pytest.raises(NotADirectoryError):
        inside.open_folder(root, "/etc/f")


def test_removal_follows_no_link(place: Path, root: int) -> None:
    (place / "keep").mkdir()
    (place / "keep" / "f").write_text("x")
    tree = place / "root" / "t"
    (tree / "deep" / "er").mkdir(parents=True)
    (tree / "l").symlink_to(place / "keep")
    (tree / "deep" / "g").write_text("x")
    os.chmod(tree / "deep", 0)
    remove(root, "t")
    remove(root, "t")
    assert not tree.exists()
    assert (place / "keep" / "f").exists()


def test_only_regular_files_are_opened(place: Path, root: int) -> None:
    os.mkfifo(place / "root" / "p")
    (place / "root" / "l").symlink_to("/etc/f")
    for name in ("p", "l", "etc"):
        assert inside.open_regular(root, name) is None
    fd = inside.open_regular(inside.open_inside(root, "etc", inside.FOLDER), "f")
    assert fd is not None
    os.close(fd)


@given(st.text("ab./", max_size=20))
def test_the_parts_of_a_path_never_climb(path: str) -> None:
    parts = inside.parts_of(path)
    assert b".." not in parts and b"." not in parts and b"" not in parts
    assert os.path.normpath("/" + path).lstrip("/").encode() == b"/".join(parts)
