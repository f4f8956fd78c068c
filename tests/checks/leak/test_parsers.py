"""Bytes from tasks, repositories and archives: whatever they are, reading them ends, stays within its bounds and raises nothing odd."""

from __future__ import annotations

import base64
import bz2
import gzip
import hashlib
import io
import lzma
import time
import zipfile
import zlib

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bakeoff.checks.leak.archives import Budget, inside
from bakeoff.checks.leak.lines import is_distinctive, lines_of, text_of, unquoted
from bakeoff.checks.leak.packs import MAX_OBJECT
from bakeoff.checks.leak.repositories import (
    GitError,
    History,
    Object,
    ObjectStream,
    loose_object,
    tree_entries,
)
from bakeoff.files import tar

KINDS = ("blob", "tree", "commit", "tag")


def budget(size: int = 1 << 20, items: int = 1000, each: int = 1 << 18) -> Budget:
    return Budget(size, items, each)


def zipped(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return out.getvalue()


def tarred(name: str, data: bytes) -> bytes:
    return tar.build([(tar.Member(name=name.encode()), data)])


PACKERS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zip": lambda data: zipped("a/b", data),
    "tar": lambda data: tarred("a/b", data),
    "tar.gz": lambda data: gzip.compress(tarred("a/b", data)),
    "base64": lambda data: base64.b64encode(b"some text before it: " + data),
}


@given(st.sampled_from(sorted(PACKERS)), st.text(min_size=60))
def test_what_was_packed_is_found_inside(kind: str, text: str) -> None:
    data = text.encode().replace(b"\0", b" ")
    assert any(data in inner.data for inner in inside(PACKERS[kind](data), budget()))


@given(st.sampled_from(sorted(PACKERS)), st.binary(min_size=1, max_size=4), st.integers(0, 600), st.integers(0, 600))
def test_damaged_archives_raise_nothing(kind: str, noise: bytes, at: int, cut: int) -> None:
    data = PACKERS[kind](b"line of text\n" * 60)
    damaged = bytearray(data[: max(cut, 20)])
    damaged[at % len(damaged) : at % len(damaged) + len(noise)] = noise
    for inner in inside(bytes(damaged), budget()):
        assert len(inner.data) <= 1 << 18


@given(st.binary(max_size=2000))
@example(b"A" * 2000)
@example(b"\x1f\x8b" + bytes(50))
def test_any_bytes_have_an_inside_that_ends(data: bytes) -> None:
    for inner in inside(data, budget()):
        assert len(inner.data) <= 1 << 18


def test_bombs_stay_within_the_budget_and_are_told() -> None:
    for pack in (gzip.compress, bz2.compress, lzma.compress, PACKERS["zip"]):
        limits = budget(each=1 << 16)
        assert sum(len(inner.data) for inner in inside(pack(bytes(1 << 22)), limits)) <= 1 << 16
        assert limits.left_out


def test_archives_in_archives_end_at_a_depth_and_a_number() -> None:
    data = b"the innermost of all\n" * 4
    for _ in range(8):
        data = gzip.compress(data)
    assert len(list(inside(data, budget()))) == 3
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(200):
            archive.writestr(str(number), b"x")
    limits = budget(items=50)
    assert len(list(inside(out.getvalue(), limits))) == 50


def test_texts_that_could_take_long_do_not() -> None:
    begun = time.process_time()
    for data in (b"A" * 2_000_000, b"A" * 15 + b" ", (b"A" * 16 + b"\n") * 100_000, (b"ab12 " * 3) * 100_000):
        list(inside(data, budget(8 << 20, 1000, 4 << 20)))
    text = "<<E " * 20_000 + "\n" + "> - " * 50_000 + "\n" + "a=" * 50_000
    for line in lines_of(text, shell=True):
        is_distinctive(line.text)
    unquoted(text)
    assert time.process_time() - begun < 2


@given(st.text())
def test_lines_say_something_and_are_squeezed(text: str) -> None:
    for line in lines_of(text, shell=True):
        assert line.text
        assert line.text == " ".join(line.text.split())


def test_here_documents_are_told_from_what_acts() -> None:
    script = "cat >a <<'END' && cat <<-B\none\nEND\n\ttwo\n\tB\nthree\n"
    assert [(line.text, line.here) for line in lines_of(script, shell=True)][1:] == [
        ("one", True),
        ("two", True),
        ("three", False),
    ]


@given(st.binary())
def test_any_bytes_are_text_or_none(data: bytes) -> None:
    text_of(data)


def batch(objects: list[tuple[str, bytes]]) -> bytes:
    out = b""
    for kind, data in objects:
        name = hashlib.sha1(f"{kind} {len(data)}\0".encode() + data).hexdigest()
        out += f"{name} {kind} {len(data)}\n".encode() + data + b"\n"
    return out


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.binary(max_size=300)), max_size=5), st.integers(1, 400))
def test_a_stream_of_objects_is_read_whatever_its_pieces(objects: list[tuple[str, bytes]], size: int) -> None:
    stream, data = ObjectStream(), batch(objects)
    found = [one for at in range(0, len(data), size) for one in stream.feed(data[at : at + size])]
    assert [(one.kind, one.data) for one in found] == objects


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_any_stream_gives_objects_or_an_error_of_ours(pieces: list[bytes]) -> None:
    stream = ObjectStream()
    try:
        for piece in pieces:
            list(stream.feed(piece))
    except GitError:
        pass


def test_an_object_that_is_too_long_is_passed_over() -> None:
    size = MAX_OBJECT + 1
    stream = ObjectStream()
    data = f"{'1' * 40} blob {size}\n".encode() + bytes(size) + b"\n" + batch([("blob", b"after")])
    found = [one for at in range(0, len(data), 1 << 20) for one in stream.feed(data[at : at + (1 << 20)])]
    assert [one.data for one in found] == [None, b"after"]


@given(st.binary(max_size=300))
def test_any_loose_object_is_read_or_none(data: bytes) -> None:
    assert loose_object("1" * 40, data) is None or data
    loose_object("1" * 40, zlib.compress(data))


@given(st.sampled_from(KINDS), st.binary(max_size=300))
def test_loose_objects_are_read(kind: str, data: bytes) -> None:
    packed = zlib.compress(f"{kind} {len(data)}\0".encode() + data)
    assert loose_object("1" * 40, packed) == Object("1" * 40, kind, data)


def test_a_loose_object_that_unpacks_to_much_is_left_out() -> None:
    size = MAX_OBJECT * 4
    assert loose_object("1" * 40, zlib.compress(f"blob {size}\0".encode() + bytes(size))) is None


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.binary(max_size=120)), max_size=6))
@settings(max_examples=50)
def test_histories_of_any_objects_name_an_origin(objects: list[tuple[str, bytes]]) -> None:
    history, limits = History("/repo/.git"), budget()
    for number, (kind, data) in enumerate(objects):
        history.add(Object(f"{number:040x}", kind, data), limits)
        assert all(len(entry) == 40 for _, entry in tree_entries(data, 20))
    for blob in history.blobs:
        assert history.origin(blob)


def test_trees_that_hold_each_other_end() -> None:
    history = History("/repo/.git")
    for one, other in (("1" * 40, "2" * 40), ("2" * 40, "1" * 40)):
        history.add(Object(one, "tree", b"40000 x\0" + bytes.fromhex(other)), budget())
    assert history.origin("1" * 40).startswith("blob ")
