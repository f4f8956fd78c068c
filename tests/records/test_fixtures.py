"""A fixture is read exactly, or its fault is named with file, line and field."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.errors import InputError
from bakeoff.records import fixture_lines
from bakeoff.records.exchanges import Blob, Delta, Exchange, FixtureAgent, Provenance
from bakeoff.records.fixture_files import line_of
from bakeoff.records.fixtures import digest, find_fixtures, read_fixture
from bakeoff.records.provenance import read_provenance, write_provenance


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def a_blob(data: bytes) -> Blob:
    return Blob(sha256=sha(data), size=len(data), base64=base64.b64encode(data).decode())


def an_exchange(seq: int, request: Blob | bytes = b"{}", response: Blob | bytes = b"answer") -> Exchange:
    return Exchange(
        seq=seq,
        api="other",
        method="POST",
        path="/",
        started_at="2026-01-01T00:00:00.000000Z",
        request=a_blob(request) if isinstance(request, bytes) else request,
        response=a_blob(response) if isinstance(response, bytes) else response,
        end="complete",
    )


def a_provenance(sha256: str, **fields: object) -> Provenance:
    base = Provenance(
        sha256=sha256,
        dataset="starter",
        task="t",
        task_digest="d",
        agent=FixtureAgent(name="codex"),
        model="m",
        bakeoff="0.1.0",
        captured_at="2026-01-01T00:00:00.000000Z",
        outcome="passed",
        exchanges=1,
    )
    return msgspec.structs.replace(base, **fields)


def write(folder: Path, *exchanges: Exchange, compressed: bool = False) -> Path:
    data = b"".join(line_of(exchange) for exchange in exchanges)
    folder.mkdir(parents=True, exist_ok=True)
    if compressed:
        (folder / "exchanges.jsonl.zst").write_bytes(zstandard.ZstdCompressor(write_checksum=True).compress(data))
    else:
        (folder / "exchanges.jsonl").write_bytes(data)
    return folder


def fault_of(folder: Path) -> InputError:
    """The first fault, of reading it or of its bodies."""
    try:
        fixture = read_fixture(folder)
    except InputError as fault:
        return fault
    return next(fixture.verify())


def test_the_digest_does_not_depend_on_compression(tmp_path: Path) -> None:
    exchanges = [an_exchange(1), an_exchange(4, b"\xff\x00")]
    plain = read_fixture(write(tmp_path / "plain", *exchanges))
    packed = read_fixture(write(tmp_path / "packed", *exchanges, compressed=True))
    assert plain.sha256 == packed.sha256 == digest(exchanges)
    assert plain.exchanges == packed.exchanges == tuple(exchanges)
    assert packed.body(packed.exchanges[1], "request") == b"\xff\x00"


def test_many_frames_are_one_file(tmp_path: Path) -> None:
    frames = [zstandard.ZstdCompressor().compress(line_of(an_exchange(seq))) for seq in range(1, 30)]
    (tmp_path / "exchanges.jsonl.zst").write_bytes(b"".join(frames))
    assert [one.seq for one in read_fixture(tmp_path).exchanges] == list(range(1, 30))


def test_an_edited_fixture_is_modified_and_can_be_read(tmp_path: Path) -> None:
    write(tmp_path, an_exchange(1))
    assert not read_fixture(tmp_path).modified
    write_provenance(tmp_path, a_provenance(digest([an_exchange(1)])))
    assert read_provenance(tmp_path) == read_fixture(tmp_path).provenance
    assert not read_fixture(tmp_path).modified
    write(tmp_path, msgspec.structs.replace(an_exchange(1), path="/other"))
    assert read_fixture(tmp_path).modified


def long(*parts: bytes) -> bytes:
    return b"".join(part * 100 for part in parts)


BASE = long(b"one ", b"two ", b"three ")


def delta(data: bytes, prefix: int, suffix: int, middle: str, base: str = "") -> Blob:
    return Blob(sha256=sha(data), size=len(data), text=middle, delta=Delta(base or sha(BASE), prefix, suffix))


def test_deltas_upon_deltas_and_files_give_the_exact_bytes(tmp_path: Path) -> None:
    second, third = BASE[:10] + b"NEW" + BASE[-10:], BASE[:10] + b"NEWER" + BASE[-10:]
    middle = os.urandom(70_000)
    whole = third[:5] + middle
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / sha(middle)).write_bytes(middle)
    fourth = Blob(sha256=sha(whole), size=len(whole), file=f"blobs/{sha(middle)}", delta=Delta(sha(third), 5, 0))
    write(
        tmp_path,
        an_exchange(1, BASE),
        an_exchange(2, delta(second, 10, 10, "NEW"), delta(BASE, len(BASE), 0, "")),
        an_exchange(3, delta(third, 13, 10, "ER", sha(second))),
        an_exchange(4, fourth),
    )
    fixture = read_fixture(tmp_path)
    assert [fixture.body(one, "request") for one in reversed(fixture.exchanges)] == [whole, third, second, BASE]
    assert fixture.body(fixture.exchanges[1], "response") == BASE
    assert list(fixture.verify()) == []


def test_a_chain_of_thousands_of_deltas_is_followed(tmp_path: Path) -> None:
    bodies = [BASE + b"%d" % number for number in range(3000)]
    exchanges = [an_exchange(1, bodies[0])]
    exchanges += [
        an_exchange(number + 1, delta(bodies[number], len(BASE), 0, str(number), sha(bodies[number - 1])))
        for number in range(1, 3000)
    ]
    fixture = read_fixture(write(tmp_path, *exchanges))
    assert fixture.body(fixture.exchanges[-1], "request") == bodies[-1]


def _cut(folder: Path) -> None:
    path = write(folder, an_exchange(1), an_exchange(2)) / "exchanges.jsonl"
    path.write_bytes(path.read_bytes()[:-20])


def _raw(*lines: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / "exchanges.jsonl").write_bytes(b"".join(lines)) and None


def _with(*exchanges: Exchange) -> Callable[[Path], None]:
    return lambda folder: write(folder, *exchanges) and None


def _packed(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        path = write(folder, *(an_exchange(seq, os.urandom(3000)) for seq in range(1, 20)), compressed=True)
        path /= "exchanges.jsonl.zst"
        path.write_bytes(change(path.read_bytes()))

    return make


def _linked(folder: Path) -> None:
    (folder / "secret").write_bytes(BASE)
    (folder / "blobs").mkdir()
    (folder / "blobs" / sha(BASE)).symlink_to(folder / "secret")
    write(folder, an_exchange(1, Blob(sha256=sha(BASE), size=len(BASE), file=f"blobs/{sha(BASE)}")))


def _two(folder: Path) -> None:
    write(folder, an_exchange(1))
    write(folder, an_exchange(1), compressed=True)


def _of(blob: Blob) -> Callable[[Path], None]:
    return _with(an_exchange(1, BASE), an_exchange(2, blob))


GOOD = line_of(an_exchange(1))


@pytest.mark.parametrize(
    ("make", "where", "field", "message"),
    [
        (_cut, "exchanges.jsonl: line 2", "", "the last line has no end: the file was cut"),
        (_raw(GOOD, b"{not json}\n"), "exchanges.jsonl: line 2", "", "not an exchange: JSON is malformed"),
        (_raw(GOOD, b"\n"), "exchanges.jsonl: line 2", "", "not an exchange"),
        (_raw(GOOD, b"\xff\xfe\n"), "exchanges.jsonl: line 2", "", "not an exchange"),
        (_raw(GOOD, b'{"schema_version": "1.0", "seq": 2}\n'), "exchanges.jsonl: line 2", "", "missing required field"),
        (_raw(GOOD.replace(b'"seq":1', b'"seq":"1"')), "exchanges.jsonl: line 1", "", "Expected `int`"),
        (_raw(GOOD.replace(b'"1.0"', b'"9.0"')), "exchanges.jsonl: line 1", "schema_version", "another version"),
        (_with(an_exchange(2), an_exchange(1)), "exchanges.jsonl: line 2", "seq", "not in order"),
        (_with(an_exchange(2), an_exchange(2)), "exchanges.jsonl: line 2", "seq", "not in order"),
        (_with(an_exchange(0)), "exchanges.jsonl: line 1", "seq", "not in order"),
        (_packed(lambda data: data[:-50]), "exchanges.jsonl.zst", "", "cut short"),
        (_packed(lambda data: data[:400] + b"\0\0\0\0" + data[404:]), "exchanges.jsonl.zst", "", "damaged"),
        (_packed(lambda data: data + b"rubbish behind it"), "exchanges.jsonl.zst", "", "damaged"),
        (_packed(lambda data: b"not zstd"), "exchanges.jsonl.zst", "", "damaged"),
        (_two, "", "", "two files of exchanges"),
        (lambda folder: None, "", "", "no exchanges"),
        (_of(Blob(sha256="0" * 64, size=1, text="a")), "line 2", "request.sha256", "not those that were recorded"),
        (_of(Blob(sha256=sha(b"a"), size=9, text="a")), "line 2", "request.size", "not that of the bytes"),
        (_of(Blob(sha256=sha(b"a"), size=-1, text="a")), "line 2", "request.size", "out of range"),
        (_of(Blob(sha256=sha(b"a"), size=1 << 40, text="a")), "line 2", "request.size", "out of range"),
        (_of(Blob(sha256=sha(b"a"), size=1)), "line 2", "request", "where are the bytes?"),
        (_of(Blob(sha256=sha(b"a"), size=1, text="a", base64="YQ==")), "line 2", "request", "where are the bytes?"),
        (_of(Blob(sha256=sha(b"a"), size=1, base64="%%")), "line 2", "request.base64", "not base64"),
        (_of(Blob(sha256=sha(b"a"), size=1, file="blobs/" + "a" * 64)), "line 2", "request.file", "No such file"),
        (_of(Blob(sha256=sha(b"a"), size=1, file="../../etc/passwd")), "line 2", "request.file", "not a blob"),
        (_of(Blob(sha256=sha(b"a"), size=1, file="blobs/../exchanges.jsonl")), "line 2", "request.file", "not a blob"),
        (_of(delta(b"x", len(BASE), 1, "")), "line 2", "request.delta", "beyond its base"),
        (_of(delta(b"x", -1, 0, "x")), "line 2", "request.delta", "beyond its base"),
        (_of(delta(b"x", 0, 0, "x", "f" * 64)), "line 2", "request.delta.base", "no body before"),
        (_of(delta(b"x", 0, 0, "x", sha(b"x"))), "line 2", "request.delta.base", "no body before"),
        (_linked, "line 1", "request.file", "cannot be read"),
    ],
)  # fmt: skip
def test_each_fault_is_named_with_its_place(
    tmp_path: Path, make: Callable[[Path], None], where: str, field: str, message: str
) -> None:
    make(tmp_path)
    fault = fault_of(tmp_path)
    assert message in fault.message
    assert fault.where.endswith(where) and str(tmp_path) in fault.where
    assert fault.field == field
    assert "\n" not in str(fault) and len(str(fault)) < 600 + len(str(tmp_path))


def test_what_unfolds_without_end_is_refused_before_it_fills_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixture_lines, "MAX_LINES", 1 << 20)
    bomb = zstandard.ZstdCompressor().compress(b"\n" * (200 << 20))
    (tmp_path / "exchanges.jsonl.zst").write_bytes(bomb)
    with pytest.raises(InputError, match=r"unfolds to too much|not an exchange"):
        read_fixture(tmp_path)
    (tmp_path / "exchanges.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(b"x" * (200 << 20)))
    with pytest.raises(InputError, match="unfolds to too much"):
        read_fixture(tmp_path)
    monkeypatch.setattr(fixture_lines, "MAX_LINES", 1 << 40)
    monkeypatch.setattr(fixture_lines, "MAX_LINE", 1 << 10)
    with pytest.raises(InputError, match="a line is too long"):
        read_fixture(tmp_path)


def test_a_provenance_that_is_none_is_named(tmp_path: Path) -> None:
    write(tmp_path, an_exchange(1))
    for text, message in (
        ("{", "not a provenance"),
        ('{"schema_version": "2.0"}', "another version"),
        ("[]", "not a prov"),
    ):
        (tmp_path / "provenance.json").write_text(text)
        with pytest.raises(InputError, match=message):
            read_fixture(tmp_path)


def test_fixtures_are_found_in_a_tree_and_links_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "tree" / "b" / "codex", an_exchange(1))
    write(tmp_path / "tree" / "a" / "claude", an_exchange(1), compressed=True)
    (tmp_path / "tree" / "c").mkdir()
    (tmp_path / "tree" / "c" / "provenance.json").write_text("{}")
    write(tmp_path / "elsewhere", an_exchange(1))
    (tmp_path / "tree" / "z").symlink_to(tmp_path / "elsewhere")
    tree = tmp_path / "tree"
    assert find_fixtures(tree) == [tree / "a" / "claude", tree / "b" / "codex", tree / "c"]
    assert find_fixtures(tree / "b" / "codex") == [tree / "b" / "codex"]
    (tmp_path / "empty").mkdir()
    for path, message in ((tmp_path / "empty", "there is no fixture in it"), (tmp_path / "none", "no such folder")):
        with pytest.raises(InputError, match=message):
            find_fixtures(path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_is_an_input_error_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("fixture")
    second = BASE[:7] + b"x" + BASE[8:]
    exchanges = [an_exchange(1, BASE), an_exchange(2, delta(second, 7, len(BASE) - 8, "x")), an_exchange(5, b"\0\xff")]
    compressed = data.draw(st.booleans())
    write(folder, *exchanges, compressed=compressed)
    path = folder / ("exchanges.jsonl.zst" if compressed else "exchanges.jsonl")
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        kind = data.draw(st.sampled_from(["flip", "drop", "insert", "cut"]))
        if kind == "flip":
            raw[place] ^= data.draw(st.integers(1, 255))
        elif kind == "drop":
            del raw[place : place + data.draw(st.integers(1, 9))]
        elif kind == "insert":
            raw[place:place] = data.draw(st.binary(min_size=1, max_size=9))
        else:
            del raw[place:]
        raw = raw or bytearray(b"\n")
    path.write_bytes(raw)
    try:
        fixture = read_fixture(folder)
    except InputError as fault:
        assert str(folder) in str(fault)
        return
    faults = list(fixture.verify())
    for exchange in fixture.exchanges:
        for side, blob in (("request", exchange.request), ("response", exchange.response)):
            try:
                body = fixture.body(exchange, side)  # type: ignore[arg-type]  # one of the two words
            except InputError as fault:
                assert faults and "line" in fault.where
            else:
                assert sha(body) == blob.sha256


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_file_is_an_input_error_or_a_fixture(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, compressed: bool
) -> None:
    folder = tmp_path_factory.mktemp("fixture")
    if compressed:
        data = zstandard.ZstdCompressor().compress(data)
    (folder / ("exchanges.jsonl.zst" if compressed else "exchanges.jsonl")).write_bytes(data)
    try:
        assert read_fixture(folder).exchanges == ()
    except InputError:
        pass
