"""Whose files are whose, inside and outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.files import inside, tar
from bakeoff.files.owners import AS_NAMED, NOBODY, Owners
from bakeoff.files.pack import pack
from bakeoff.files.unpack import Unpacker

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files that are somebody else's")
SANDBOX = Owners(base=0x70000000, count=65536)
IDS = st.one_of(st.integers(0, 1 << 16), st.integers(-5, 1 << 70))


@given(IDS, st.builds(Owners, base=st.integers(0, 1 << 31), count=st.integers(1, 1 << 17)))
def test_no_id_that_a_tar_names_leads_out_of_the_range(number: int, owners: Owners) -> None:
    outer = owners.outer(number)
    assert owners.holds(outer)
    assert owners.inner(outer) == (number if 0 <= number < owners.count else 0)
    assert owners.inner(owners.base - 1) == owners.inner(owners.base + owners.count) == NOBODY


def test_the_id_that_means_no_change_is_no_owner() -> None:
    assert AS_NAMED.outer(0xFFFFFFFF) == 0


def unpacked(folder: Path, *members: tuple[tar.Member, bytes], owners: Owners | None) -> None:
    fd = os.open(folder, inside.FOLDER)
    unpacker = Unpacker(fd, owners=owners)
    try:
        unpacker.feed(tar.build(members))
        unpacker.finish()
    finally:
        unpacker.close()
        os.close(fd)


def packed(folder: Path, owners: Owners | None) -> dict[bytes, tar.Member]:
    folder.chmod(0o755)
    fd = os.open(folder, inside.FOLDER)
    try:
        data = b"".join(pack(fd, ".", max_bytes=1 << 20, owners=owners))
    finally:
        os.close(fd)
    return {member.name: member for member, _ in tar.Parser().feed(data) if member is not None}


@ROOT_ONLY
def test_owners_are_moved_into_the_range_and_back(tmp_path: Path) -> None:
    members = [
        (tar.Member(name=b"d", kind=tar.FOLDER, mode=0o700, uid=1, gid=2), b""),
        (tar.Member(name=b"d/f", mode=0o6755, uid=3, gid=1 << 40), b"x"),
        (tar.Member(name=b"l", kind=tar.LINK, target=b"/etc/passwd", uid=5, gid=6), b""),
    ]
    before = os.stat("/etc/passwd")
    unpacked(tmp_path, *members, owners=SANDBOX)
    found = {path.name: path.lstat() for path in tmp_path.rglob("*")}
    base = SANDBOX.base
    assert {name: (info.st_uid - base, info.st_gid - base) for name, info in found.items()} == {
        "d": (1, 2), "f": (3, 0), "l": (5, 6),
    }  # fmt: skip
    assert found["f"].st_mode & 0o7777 == 0o6755
    assert os.stat("/etc/passwd") == before
    read = packed(tmp_path, SANDBOX)
    assert {name: (member.uid, member.gid) for name, member in read.items()} == {
        b"d/": (1, 2), b"d/f": (3, 0), b"l": (5, 6),
    }  # fmt: skip
    assert {(member.uid, member.gid) for member in packed(tmp_path, None).values()} == {(0, 0)}


@ROOT_ONLY
def test_what_is_not_the_sandboxes_and_not_for_everyone_is_left_out(tmp_path: Path) -> None:
    """The harness as root could read it; code inside could not, and gets no copy by asking the harness."""
    for name, mode, owner in (("shut", 0o600, 0), ("open", 0o644, 0), ("own", 0o600, SANDBOX.base + 9)):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(mode)
        os.chown(tmp_path / name, owner, owner)
    (tmp_path / "folder").mkdir(mode=0o700)
    (tmp_path / "folder" / "f").write_text("x")
    assert set(packed(tmp_path, SANDBOX)) == {b"open", b"own", b"folder/"}
    assert packed(tmp_path, SANDBOX)[b"open"].uid == NOBODY
    assert set(packed(tmp_path, None)) == {b"open", b"own", b"shut", b"folder/", b"folder/f"}
