"""Task files as a tar, tar streams into folders, and digests of what is given to an agent."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.errors import InputError
from bakeoff.files import inside, tar
from bakeoff.files.hashing import hash_tree
from bakeoff.files.tar import TarError
from bakeoff.files.tree import pack_folder, tar_of, unpack_stream
from bakeoff.files.unpack import Unpacker
from bakeoff.tasks.folder import in_memory
from bakeoff.tasks.model import TaskFile, Visibility

WHO = Visibility.VERIFIER


async def stream(data: bytes, size: int = 700) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def opened(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {entry.name: entry for entry in tar.getmembers()}


def made(*entries: tuple[str, bytes, bytes | str]) -> bytes:
    """A tar of (name, type, content or target)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, content in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            if isinstance(content, str):
                info.linkname = content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def test_a_tar_of_task_files_has_their_folders_modes_and_links(tmp_path: Path) -> None:
    (tmp_path / "deep.txt").write_bytes(b"deep")
    files = (
        *in_memory({"run.sh": (b"#!/bin/sh\n", WHO, 0o600), "lib/tool": (b"t", WHO, 0o700)}),
        TaskFile("a/b/c.txt", WHO, "", 0o644, 4, origin=str(tmp_path / "deep.txt")),
        TaskFile("a/link", WHO, "", 0o777, 0, link="b/c.txt"),
    )
    entries = opened(tar_of(files, executable=("run.sh",)))
    assert set(entries) == {"run.sh", "lib", "lib/tool", "a", "a/b", "a/b/c.txt", "a/link"}
    assert entries["a/b"].isdir()
    assert entries["run.sh"].mode == 0o755
    assert entries["lib/tool"].mode == 0o755
    assert entries["a/b/c.txt"].mode == 0o644
    assert entries["a/link"].linkname == "b/c.txt"
    assert {entry.uid for entry in entries.values()} == {0}


def test_a_task_file_that_changed_since_it_was_hashed_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "test.sh"
    path.write_bytes(b"honest")
    file = in_memory({"test.sh": (b"honest", WHO, 0o644)})[0]
    on_disk = TaskFile("test.sh", WHO, file.sha256, 0o644, 6, origin=str(path))
    assert opened(tar_of([on_disk]))["test.sh"].size == 6
    path.write_bytes(b"changed")
    with pytest.raises(InputError, match="changed since"):
        tar_of([on_disk])
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        tar_of([on_disk])


async def test_links_fifos_and_devices_are_left_out_and_named(tmp_path: Path) -> None:
    data = made(
        ("logs", tarfile.DIRTYPE, b""),
        ("logs/reward.txt", tarfile.SYMTYPE, "/etc/passwd"),
        ("logs/hard", tarfile.LNKTYPE, "logs/ok"),
        ("logs/pipe", tarfile.FIFOTYPE, b""),
        ("logs/null", tarfile.CHRTYPE, b""),
        ("logs/ok", tarfile.REGTYPE, b"fine"),
    )
    left_out = await unpack_stream(stream(data), tmp_path / "to", strip=1)
    assert set(left_out) == {"reward.txt", "hard", "pipe", "null"}
    assert os.listdir(tmp_path / "to") == ["ok"]


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "to/../../out"])
async def test_a_name_that_leads_out_stays_inside(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    await unpack_stream(stream(made((name, tarfile.REGTYPE, b"x"))), tmp_path / "in" / "to")
    assert not (tmp_path / "out").exists()
    assert os.listdir(tmp_path) == ["in"]
    assert os.listdir(tmp_path / "in") == ["to"]


async def test_a_link_that_stands_in_the_folder_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("mine")
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "file").symlink_to(tmp_path / "outside")
    (tmp_path / "to" / "dir").symlink_to(tmp_path)
    data = made(("file", tarfile.REGTYPE, b"x"), ("file2", tarfile.REGTYPE, b"y"))
    await unpack_stream(stream(data), tmp_path / "to")
    assert (tmp_path / "outside").read_text() == "mine"
    assert (tmp_path / "to" / "file").read_text() == "x"
    with pytest.raises(OSError):
        await unpack_stream(stream(made(("dir/outside", tarfile.REGTYPE, b"x"))), tmp_path / "to")
    assert (tmp_path / "outside").read_text() == "mine"


async def test_a_single_file_becomes_the_target_and_modes_are_tame(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("report.txt")
        info.size, info.mode = 2, 0o4000
        tar.addfile(info, io.BytesIO(b"hi"))
    await unpack_stream(stream(out.getvalue()), tmp_path / "deep" / "name.txt", strip=1)
    assert (tmp_path / "deep" / "name.txt").read_text() == "hi"
    assert (tmp_path / "deep" / "name.txt").stat().st_mode & 0o7777 == 0o644


async def test_what_is_below_an_excluded_folder_is_excluded(tmp_path: Path) -> None:
    data = made(
        ("top", tarfile.DIRTYPE, b""),
        ("top/skip", tarfile.DIRTYPE, b""),
        ("top/skip/x", tarfile.REGTYPE, b"x"),
        ("top/skipped", tarfile.REGTYPE, b"y"),
    )
    await unpack_stream(stream(data), tmp_path / "to", strip=1, keep=lambda path: path != "skip")
    assert sorted(os.listdir(tmp_path / "to")) == ["skipped"]


async def test_a_path_that_no_program_could_use_here_is_refused(tmp_path: Path) -> None:
    """Each by itself fits; what reads the folder later names its files from the root of the machine on."""
    deep = "/".join(["d" * 250] * 16)
    assert len(deep) < 4095 < len(deep) + len(str(tmp_path)) + 200
    with pytest.raises(TarError, match="too long"):
        await unpack_stream(stream(made((f"{deep}/{'f' * 60}", tarfile.REGTYPE, b"x"))), tmp_path / ("t" * 120))
    for folder, _, names in os.walk(tmp_path):
        for name in names:
            assert os.path.exists(os.path.join(folder, name))


async def test_nothing_that_is_brought_here_is_setuid_or_somebody_elses(tmp_path: Path) -> None:
    members = [(tar.Member(name=b"f", mode=0o6777, uid=0 if os.geteuid() else 1000, gid=5), b"x")]
    await unpack_stream(stream(tar.build(members)), tmp_path / "to")
    found = (tmp_path / "to" / "f").stat()
    assert found.st_mode & 0o7777 == 0o755
    assert found.st_uid == os.geteuid()


async def test_a_stream_that_is_no_tar_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(TarError):
        await unpack_stream(stream(b"no tar at all" * 100), tmp_path / "to")
    with pytest.raises(TarError):
        await unpack_stream(stream(made(("f", tarfile.REGTYPE, b"x" * 5000))[:2000]), tmp_path / "to")


async def test_a_folder_packed_and_unpacked_is_the_same(tmp_path: Path) -> None:
    source = tmp_path / "from"
    (source / "a" / "b").mkdir(parents=True)
    (source / "a" / "b" / "big").write_bytes(os.urandom(1 << 20))
    (source / "run").write_bytes(b"#!/bin/sh\n")
    (source / "run").chmod(0o755)
    await unpack_stream(pack_folder(source, max_bytes=2 << 20), tmp_path / "to")
    assert (tmp_path / "to" / "a" / "b" / "big").read_bytes() == (source / "a" / "b" / "big").read_bytes()
    assert os.access(tmp_path / "to" / "run", os.X_OK)
    with pytest.raises(OSError, match="more bytes than allowed"):
        await unpack_stream(pack_folder(source, max_bytes=1 << 20), tmp_path / "to2")


@settings(deadline=None, max_examples=30)
@given(st.dictionaries(st.text("ab", min_size=1, max_size=3), st.binary(max_size=20), max_size=5))
def test_the_digest_of_a_folder_follows_names_and_bytes(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes]
) -> None:
    def build(values: dict[str, bytes], *, backwards: bool = False) -> str:
        folder = tmp_path_factory.mktemp("tree")
        for name in sorted(values, reverse=backwards):
            (folder / name).write_bytes(values[name])
        return hash_tree(str(folder))

    first = build(contents)
    assert build(contents, backwards=True) == first
    for name in contents:
        assert build({**contents, name: contents[name] + b"!"}) != first
        assert build({key: value for key, value in contents.items() if key != name}) != first


def test_the_digest_follows_the_run_bit_and_links_are_not_followed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a").write_text("x")
    os.mkfifo(tree / "pipe")
    (tree / "loop").symlink_to(tree)
    (tree / "gone").symlink_to("nowhere")
    first = hash_tree(str(tree))
    (tree / "a").chmod(0o755)
    assert hash_tree(str(tree)) != first


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 20_000)), max_size=8),
    st.integers(100, 50_000),
)
def test_zeros_become_holes_and_every_byte_comes_back(tmp_path_factory, runs, step) -> None:
    """Whatever the pieces in which a file comes."""
    data = b"".join((b"x" if full else b"\0") * size for full, size in runs)
    archive = tar.build([(tar.Member(name=b"f", size=len(data)), data)])
    place = tmp_path_factory.mktemp("holes")
    folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    unpacker = Unpacker(folder)
    for start in range(0, len(archive), step):
        unpacker.feed(archive[start : start + step])
    unpacker.finish()
    unpacker.close()
    os.close(folder)
    assert (place / "f").read_bytes() == data


def test_a_sparse_file_takes_no_room_where_it_is_unpacked(tmp_path) -> None:
    size = 64 << 20
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    unpacker = Unpacker(folder)
    unpacker.feed(tar.build([(tar.Member(name=b"f", size=size), bytes(size))]))
    unpacker.finish()
    unpacker.close()
    os.close(folder)
    found = (tmp_path / "f").stat()
    assert found.st_size == size
    assert found.st_blocks * 512 < 1 << 20


async def test_a_deep_tree_takes_a_few_lookups_a_folder(tmp_path, monkeypatch) -> None:
    """And not as many as it is deep: other trials' clocks run meanwhile."""
    looked: list[int] = []
    real = inside._open  # pyright: ignore[reportPrivateUsage] - every lookup goes through it
    monkeypatch.setattr(inside, "_open", lambda *args: (looked.append(1), real(*args))[1])
    names = [b"/".join([b"a", *[b"d"] * depth]) for depth in range(300)]
    archive = tar.build([(tar.Member(name=name, kind=tar.FOLDER, mode=0o755), b"") for name in names])
    await unpack_stream(stream(archive, 1 << 16), tmp_path / "x", strip=1)
    assert len(looked) < 300 * 5
