"""Tar streams: what is written is what others read, what others write is read, and nonsense is an error."""

from __future__ import annotations

import io
import itertools
import os
import pickle
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.files import inside, tar
from bakeoff.files.pack import TooMuch, pack
from bakeoff.files.unpack import Unpacker

NAME = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name and not name.endswith(b"/"))
MEMBER = st.builds(
    tar.Member,
    name=NAME,
    kind=st.sampled_from([tar.FILE, tar.LINK]),
    mode=st.integers(0, 0o7777),
    target=NAME,
    uid=st.integers(0, 1 << 32),
    gid=st.integers(0, 1 << 32),
    mtime=st.integers(0, 1 << 40),
)


def parse(data: bytes, cuts: list[int] | None = None) -> list[tuple[tar.Member, bytes]]:
    """All members with their data, the stream fed in pieces that end at ``cuts``."""
    parser = tar.Parser()
    found: list[tuple[tar.Member, bytes]] = []
    edges = sorted({cut % (len(data) + 1) for cut in cuts or []} | {0, len(data)})
    for start, end in itertools.pairwise(edges):
        for member, piece in parser.feed(data[start:end]):
            if member is not None:
                found.append((member, b""))
            elif piece is not None:
                found[-1] = (found[-1][0], found[-1][1] + piece)
    parser.close()
    return found


@given(st.lists(st.tuples(MEMBER, st.binary(max_size=1500)), max_size=5), st.lists(st.integers(0, 1 << 20), max_size=6))
@settings(deadline=None)
def test_what_is_written_is_read_however_it_is_cut(members: list[tuple[tar.Member, bytes]], cuts: list[int]) -> None:
    given_members = [(member, data if member.kind == tar.FILE else b"") for member, data in members]
    found = parse(tar.build(given_members), cuts)
    for (member, data), (read, got) in zip(given_members, found, strict=True):
        assert got == data
        assert (read.name, read.kind, read.mode, read.uid, read.gid, read.mtime) == (
            member.name, member.kind, member.mode, member.uid, member.gid, member.mtime,
        )  # fmt: skip
        assert read.target == (member.target if member.kind == tar.LINK else b"")


@given(st.lists(st.tuples(MEMBER, st.binary(max_size=700)), max_size=4))
@settings(deadline=None)
def test_pythons_own_reader_agrees(members: list[tuple[tar.Member, bytes]]) -> None:
    data = tar.build([(member, body if member.kind == tar.FILE else b"") for member, body in members])
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as archive:
        assert [os.fsencode(member.name) for member in archive] == [member.name for member, _ in members]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_python_writes_is_read(form: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, kind in (("d/" * 40 + "f", tarfile.REGTYPE), ("folder", tarfile.DIRTYPE), ("l", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "t" * 90 if kind == tarfile.SYMTYPE else ""
            info.size = 5 if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(b"12345"))
        if form != tarfile.USTAR_FORMAT:
            archive.addfile(tarfile.TarInfo("ü" * 200))
    found = parse(buffer.getvalue())
    assert [(member.name.rstrip(b"/"), data) for member, data in found[:3]] == [
        (b"d/" * 40 + b"f", b"12345"),
        (b"folder", b""),
        (b"l", b""),
    ]
    assert found[2][0].target == b"t" * 90
    assert form == tarfile.USTAR_FORMAT or found[3][0].name == ("ü" * 200).encode()


@given(st.binary(max_size=4096))
def test_nonsense_is_an_error_and_nothing_worse(data: bytes) -> None:
    try:
        parse(data)
    except tar.TarError:
        pass


@given(st.integers(0, 3000), st.binary(min_size=1, max_size=8))
@settings(deadline=None)
def test_a_damaged_archive_is_an_error_or_another_archive(at: int, damage: bytes) -> None:
    data = bytearray(tar.build([(tar.Member(name=b"n" * 150), b"x" * 900)]))
    data[at : at + len(damage)] = damage
    try:
        parse(bytes(data))
    except tar.TarError:
        pass


def test_a_stream_that_ends_early_is_an_error() -> None:
    with pytest.raises(tar.TarError):
        parse(tar.build([(tar.Member(name=b"f"), b"x" * 600)])[:800])


@given(st.dictionaries(st.text("ab./\n", min_size=1, max_size=9), st.binary(max_size=40), max_size=6))
@settings(deadline=None)
def test_no_name_leads_out_of_the_folder(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    place = tmp_path_factory.mktemp("out")
    (place / "in").mkdir()
    fd = os.open(place / "in", inside.FOLDER)
    unpacker = Unpacker(fd)
    try:
        unpacker.feed(tar.build([(tar.Member(name=name.encode()), data) for name, data in files.items()]))
        unpacker.finish()
    except (tar.TarError, OSError):
        pass
    finally:
        unpacker.close()
        os.close(fd)
    assert os.listdir(place) == ["in"]


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    """A pax header with these records."""
    data = b""
    for key, value in records:
        rest = b" " + key + b"=" + value + b"\n"
        length = len(rest) + 1
        while len(b"%d" % length) + len(rest) != length:
            length += 1
        data += b"%d" % length + rest
    return extended(kind, data)


def extended(kind: bytes, data: bytes) -> bytes:
    block = bytearray(tar.header(tar.Member(name=b"x", size=len(data))))
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + data + tar.padding(len(data))


def sized(field: bytes) -> bytes:
    """A file's header with these twelve bytes for its size."""
    block = bytearray(tar.header(tar.Member(name=b"f")))
    block[124:136] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def first(data: bytes) -> tar.Member:
    member, _ = next(tar.Parser().feed(data))
    assert member is not None
    return member


@given(st.integers(0, (1 << 62)))
def test_sizes_of_any_kind_are_written_and_read(size: int) -> None:
    assert first(tar.header(tar.Member(name=b"f", size=size))).size == size
    assert first(sized(b"\x80" + size.to_bytes(11, "big"))).size == size


@pytest.mark.parametrize(
    "field",
    [
        b"\xff" * 12,
        b"\xff" + bytes(11),
        b"\x80" + b"\xff" * 11,
        b"-0000000001\0",
        b"9" * 12,
        b"0x10".ljust(12, b"\0"),
        b"\xc0" * 12,
    ],
)
def test_sizes_that_are_negative_or_none_are_refused(field: bytes) -> None:
    with pytest.raises(tar.TarError):
        first(sized(field))


def test_pax_records_override_and_the_last_of_a_name_counts() -> None:
    body = tar.build([(tar.Member(name=b"f"), b"")])[:512]
    data = pax((b"path", b"a"), (b"path", b"b\n20 path=c"), (b"size", b"3"), (b"uid", b"3000000"), (b"gid", b"4"))
    (found,) = parse(data + body + b"xyz" + bytes(509) + tar.END)
    assert (found[0].name, found[0].uid, found[0].gid, found[1]) == (b"b\n20 path=c", 3000000, 4, b"xyz")
    for value in (b"-1", b"+3", b"1e3", b" 3", b"9" * 19, b"\xb2", b""):
        with pytest.raises(tar.TarError):
            parse(pax((b"size", value)) + body + tar.END)
    with pytest.raises(tar.TarError, match="sparse"):
        parse(pax((b"GNU.sparse.major", b"1")) + body + tar.END)


@pytest.mark.parametrize(
    "record", [b"5 a=b\n", b"999 a=b\n", b"0 a=b\n", b"6 a=bcd\n", b"7 abcd\n", b"x a=b\n", b"-6 a=b\n", b"6\n"]
)
def test_pax_records_that_are_malformed_are_refused(record: bytes) -> None:
    with pytest.raises(tar.TarError):
        parse(extended(b"x", record) + tar.build([(tar.Member(name=b"f"), b"")]))


def test_global_records_take_no_memory_however_many_there_are() -> None:
    parser = tar.Parser()
    for number in range(200):
        assert list(parser.feed(pax((b"comment.%d" % number, b"x" * 4000), kind=b"g"))) == []
    assert len(pickle.dumps(parser)) < 10_000
    with pytest.raises(tar.TarError, match="too long"):
        list(parser.feed(extended(b"L", b"n" * ((1 << 20) + 1))))


def unpack(folder: Path, data: bytes, **options: int) -> None:
    fd = os.open(folder, inside.FOLDER)
    unpacker = Unpacker(fd, **options)  # type: ignore[arg-type]
    try:
        unpacker.feed(data)
        unpacker.finish()
    finally:
        unpacker.close()
        os.close(fd)


def test_a_bomb_ends_at_the_bound_before_the_file_that_exceeds_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="more bytes than allowed"):
        unpack(tmp_path, tar.build([(tar.Member(name=b"a"), b"x" * 900)] * 3), max_bytes=2000)
    with pytest.raises(OSError, match="more bytes than allowed"):
        unpack(tmp_path, tar.header(tar.Member(name=b"huge", size=1 << 60)), max_bytes=2000)
    assert sorted(os.listdir(tmp_path)) == ["a"]
    unpack(
        tmp_path,
        tar.build([(tar.Member(name=b"f", mtime=(1 << 62)), b"x"), (tar.Member(name=b"g", mtime=1234567), b"x")]),
    )
    assert (tmp_path / "f").stat().st_size == 1
    assert (tmp_path / "g").stat().st_mtime == 1234567


def test_a_file_that_has_the_name_is_replaced_and_never_opened(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("kept")
    os.link(tmp_path / "a", tmp_path / "b")
    os.mkfifo(tmp_path / "pipe")
    unpack(tmp_path, tar.build([(tar.Member(name=name), b"new") for name in (b"a", b"pipe")]))
    assert [(tmp_path / name).read_text() for name in ("a", "b", "pipe")] == ["new", "kept", "new"]


def test_hard_links_stay_inside_and_name_files_only(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("secret")
    for target in (b"../secret", b"/etc/passwd", b"nothing"):
        fd = os.open(tmp_path / "in", inside.FOLDER)
        unpacker = Unpacker(fd)
        try:
            with pytest.raises((OSError, tar.TarError)):
                unpacker.feed(tar.build([(tar.Member(name=b"l", kind=tar.HARD_LINK, target=target), b"")]))
        finally:
            unpacker.close()
            os.close(fd)
    assert os.listdir(tmp_path / "in") == []


def test_packing_and_unpacking_gives_the_same_tree(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    (source / "d" / "e").mkdir(parents=True)
    (source / "d" / "f").write_bytes(b"x" * 5000)
    (source / "d" / "f").chmod(0o741)
    (source / "d" / "link").symlink_to("/etc/passwd")
    os.mkfifo(source / "d" / "fifo")
    target.mkdir()
    here, there = os.open(source, inside.FOLDER), os.open(target, inside.FOLDER)
    unpacker = Unpacker(there)
    for piece in pack(here, "d", max_bytes=1 << 20):
        unpacker.feed(piece)
    unpacker.finish()
    unpacker.close()
    with pytest.raises(TooMuch):
        list(pack(here, "d", max_bytes=4000))
    os.close(here)
    os.close(there)
    assert sorted(path.name for path in (target / "d").iterdir()) == ["e", "f", "link"]
    assert (target / "d" / "f").read_bytes() == b"x" * 5000
    assert (target / "d" / "f").stat().st_mode & 0o7777 == 0o741
    assert os.readlink(target / "d" / "link") == "/etc/passwd"
