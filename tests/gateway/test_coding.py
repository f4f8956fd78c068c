"""Bodies come compressed, cut, wrongly labelled, and as bombs."""

from __future__ import annotations

import gzip
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.gateway.coding import KNOWN, PIECE, Decoder, Unreadable, decode

TEXT = b"the same words again and again, " * 200


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("zstd", zstandard.compress),
    ("identity", bytes),
]


@pytest.mark.parametrize(("coding", "pack"), PACKERS)
def test_every_coding_comes_off(coding: str, pack) -> None:  # type: ignore[no-untyped-def]
    assert decode(pack(TEXT), (("Content-Encoding", coding.upper()),)) == TEXT


def test_codings_come_off_in_the_opposite_order() -> None:
    assert decode(zstandard.compress(gzip.compress(TEXT)), (("content-encoding", "gzip, zstd"),)) == TEXT
    both = (("content-encoding", "gzip"), ("Content-Encoding", "zstd"))
    assert decode(zstandard.compress(gzip.compress(TEXT)), both) == TEXT


def test_without_the_header_nothing_is_touched() -> None:
    assert decode(gzip.compress(TEXT), ()) == gzip.compress(TEXT)


def test_several_members_and_frames_are_one_body() -> None:
    assert decode(gzip.compress(TEXT) + gzip.compress(b"end"), (("content-encoding", "gzip"),)) == TEXT + b"end"
    frames = zstandard.compress(TEXT) + zstandard.compress(b"end")
    assert decode(frames, (("content-encoding", "zstd"),)) == TEXT + b"end"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_a_bomb_is_not_unpacked(coding: str) -> None:
    pack = dict(PACKERS)[coding]
    with pytest.raises(Unreadable, match="more than 1000000 bytes"):
        decode(pack(bytes(30_000_000)), (("content-encoding", coding),), limit=1_000_000)


def test_countless_tiny_members_are_refused() -> None:
    with pytest.raises(Unreadable, match="members"):
        decode(gzip.compress(b"") * 2000, (("content-encoding", "gzip"),))


def test_an_unknown_coding_is_named() -> None:
    with pytest.raises(Unreadable, match="'br'"):
        decode(b"x", (("content-encoding", "br"),))


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_of_a_cut_body_there_is_what_came(coding: str) -> None:
    packed = dict(PACKERS)[coding](bytes(range(256)) * 50)
    came = decode(packed[:-20], (("content-encoding", coding),))
    assert (bytes(range(256)) * 50).startswith(came)
    assert came


@settings(max_examples=200, deadline=None)
@given(coding=st.sampled_from([*KNOWN, "identity", "br", "gzip, zstd"]), body=st.binary(max_size=60))
def test_any_bytes_give_a_body_or_unreadable(coding: str, body: bytes) -> None:
    try:
        assert isinstance(decode(body, (("content-encoding", coding),)), bytes)
    except Unreadable as error:
        assert str(error)


@settings(max_examples=100, deadline=None)
@given(coding=st.sampled_from(["gzip", "deflate", "zstd"]), data=st.data())
def test_a_cut_or_damaged_body_gives_bytes_or_unreadable(coding: str, data: st.DataObject) -> None:
    packed = bytearray(dict(PACKERS)[coding](TEXT))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(0, 255))
    try:
        assert isinstance(
            decode(bytes(packed[: data.draw(st.integers(0, len(packed)))]), (("content-encoding", coding),)), bytes
        )
    except Unreadable as error:
        assert str(error)


@given(
    st.lists(st.sampled_from(["gzip", "deflate", "zstd"]), max_size=2),
    st.binary(max_size=300),
    st.binary(max_size=30),
    st.integers(1, 400),
)
@settings(max_examples=60, deadline=None)
def test_decoding_is_the_inverse_of_coding(names: list[str], first: bytes, second: bytes, size: int) -> None:
    pack = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstandard.ZstdCompressor().compress}
    data = first + second
    for number, name in enumerate(names):
        # Two members in a row are one body, where the coding has members.
        several = name != "deflate" and number == 0
        data = pack[name](first) + pack[name](second) if several else pack[name](data)
    out: list[bytes] = []
    decoder = Decoder(names, out.append)
    for at in range(0, len(data), size):
        decoder.feed(data[at : at + size])
    assert b"".join(out) == first + second
    assert all(len(piece) <= PIECE or not names for piece in out)


def test_what_is_not_in_its_coding_is_told() -> None:
    for name in ("gzip", "deflate", "zstd"):
        with pytest.raises(Unreadable):
            Decoder([name], lambda piece: None).feed(b"plain text, and long enough to be seen as such")
