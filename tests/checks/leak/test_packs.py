"""Packs without a repository around them: every object of what git writes, and nothing but errors of ours for what it does not."""

from __future__ import annotations

import subprocess
import tarfile
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planting import FIXED, commit, git

from bakeoff.checks.base import Looked
from bakeoff.checks.leak.archives import Budget, inside
from bakeoff.checks.leak.packs import packed_objects

pytestmark = pytest.mark.usefixtures("has_git")


@pytest.fixture
def bundle(tmp_path: Path) -> bytes:
    """A history of many states of one file, most of them stored as what differs."""
    repository = tmp_path / "work"
    repository.mkdir()
    git(repository, "init", "-q")
    lines = [f"line {number} of many\n" for number in range(400)]
    for number in range(12):
        lines[number * 30] = f"changed in {number}\n"
        commit(repository, "shop.txt", "".join(lines))
    commit(repository, "shop.py", FIXED)
    git(repository, "rm", "-q", "shop.py")
    git(repository, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "Away")
    git(repository, "gc", "-q")
    git(repository, "bundle", "create", "-q", str(tmp_path / "shop.bundle"), "--all")
    return (tmp_path / "shop.bundle").read_bytes()


def test_every_object_of_a_bundle_is_read(bundle: bytes, tmp_path: Path) -> None:
    call = ["git", "-C", tmp_path / "work", "cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]
    told = subprocess.run(call, capture_output=True, text=True, check=True).stdout.split()
    assert sorted(name for _, name, _ in packed_objects(bundle)) == sorted(told)


@pytest.mark.parametrize("name", ["shop.bundle", "shop.tar.gz"])
async def test_a_solution_in_a_history_that_is_packed_up_is_found(
    bundle: bytes, tmp_path: Path, shop: Path, look: Callable[[Path], Awaitable[Looked]], name: str
) -> None:
    target = shop / "environment" / "files" / name
    if name.endswith(".gz"):
        with tarfile.open(target, "w:gz") as archive:
            archive.add(tmp_path / "work" / ".git", ".git")
    else:
        target.write_bytes(bundle)
    found = await look(shop)
    assert any(name in finding.field and "!blob " in finding.field for finding in found.findings)


def test_a_pack_of_much_is_cut_and_told() -> None:
    whole = zlib.compress(bytes(4 << 20))
    many = b"PACK\0\0\0\2" + (1 << 20).to_bytes(4, "big") + (b"\xa0\x80\x80\x02" + whole) * 2000
    budget = Budget(1 << 20, 1000, 1 << 18)
    assert list(inside(many, budget)) == []
    assert budget.left_out


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 2**32 - 1), st.integers(0, 200))
def test_any_bytes_behind_the_head_of_a_pack_end(data: bytes, count: int, at: int) -> None:
    body = data[:at] + zlib.compress(data) + data[at:]
    for inner in inside(b"PACK\0\0\0\2" + count.to_bytes(4, "big") + body, Budget(1 << 20, 1000, 1 << 18)):
        assert inner.data is not None
