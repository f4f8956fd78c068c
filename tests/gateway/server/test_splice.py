"""Single values of a JSON body are exchanged, and every other byte stays."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.gateway.body import PIECE, Spool
from bakeoff.gateway.splice import Found, find, splice, splice_bytes
from bakeoff.gateway.toplevel import TopLevel

quick = settings(max_examples=60, deadline=None)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["model", "a", '"', "\\"]), inner, max_size=4)
    ),
    max_leaves=12,
)
keys = st.sampled_from(["model", "stream", "messages", "temperature", "a\\b", "ü", ""])
objects = st.dictionaries(keys, values, max_size=6)
writing = st.sampled_from([{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}])


def written(value: object, how: dict[str, Any]) -> bytes:
    return json.dumps(value, **how).encode()


def cut(data: bytes, ends: list[int]) -> Iterator[bytes]:
    edges = sorted({0, len(data), *(end % (len(data) + 1) for end in ends)})
    return (data[start:end] for start, end in itertools.pairwise(edges))


@quick
@given(objects, writing, st.text(max_size=20))
def test_a_replaced_value_is_the_only_difference(value: dict[str, Any], how: dict[str, Any], model: str) -> None:
    data = written(value, how)
    changed = splice_bytes(data, {"model": json.dumps(model).encode()})
    if "model" in value:
        old = written(value["model"], how)
        assert json.loads(changed) == {**value, "model": model}
        assert len(changed) - len(data) == len(json.dumps(model)) - len(_in_place(data, value, old))
    else:
        assert changed == data


def _in_place(data: bytes, value: dict[str, Any], old: bytes) -> bytes:
    """The old value as it stands in the object: nested values are indented there."""
    (member,) = find((data,), ["model"]).members
    text = data[member.start : member.end]
    assert json.loads(text) == value["model"]
    return text if text != old else old


@quick
@given(objects, writing, st.dictionaries(keys, values, min_size=1, max_size=3))
def test_values_are_replaced_or_inserted(value: dict[str, Any], how: dict[str, Any], new: dict[str, Any]) -> None:
    changed = splice_bytes(
        written(value, how), {key: json.dumps(item).encode() for key, item in new.items()}, insert=True
    )
    assert json.loads(changed) == {**value, **new}


@quick
@given(objects, writing, st.lists(st.integers(0, 400), max_size=6))
def test_where_the_pieces_end_makes_no_difference(value: dict[str, Any], how: dict[str, Any], ends: list[int]) -> None:
    data = b" \n" + written(value, how)
    assert find(cut(data, ends), ["model", "stream"]) == find((data,), ["model", "stream"])
    found = find((data,), ["model", "stream"])
    assert {member.key: json.loads(member.value or b"") for member in found.members} == {
        key: value[key] for key in value if key in ("model", "stream")
    }


@quick
@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=4))
def test_any_bytes_can_be_scanned(data: bytes, ends: list[int]) -> None:
    found = find(cut(data, ends), ["model"])
    assert all(0 < member.start <= member.end <= len(data) for member in found.members)
    assert splice_bytes(data, {}) == data


def test_the_model_inside_of_something_else_stays() -> None:
    data = b'{"messages":[{"model":"inner","content":"\\"model\\":\\"x\\""}], "model" : "outer" , "metadata":{"model":"m"}}'
    assert splice_bytes(data, {"model": b'"new"'}) == data.replace(b'"outer"', b'"new"')


def test_every_repeat_of_a_key_is_replaced_and_the_last_counts() -> None:
    data = b'{"model":"a","mod\\u0065l":"b"}'
    assert find((data,), ["model"]).last("model") == b'"b"'
    assert splice_bytes(data, {"model": b'"c"'}) == b'{"model":"c","mod\\u0065l":"c"}'


def test_bytes_that_are_no_utf8_stay() -> None:
    data = b'{"x":"\xff\xfe","model":"a","\xff":1}'
    assert splice_bytes(data, {"model": b'"b"'}) == b'{"x":"\xff\xfe","model":"b","\xff":1}'


def test_a_mark_of_byte_order_is_passed_over() -> None:
    assert splice_bytes(b'\xef\xbb\xbf{"model":1}', {"model": b"2"}) == b'\xef\xbb\xbf{"model":2}'
    assert find((b"\xef", b'\xbb\xbf{"model":1}'), ["model"]).last("model") == b"1"


def test_what_is_no_object_stays() -> None:
    for data in (b"", b"[1]", b'"model"', b"--boundary\r\n{", b"\xef\xbb{}"):
        assert splice_bytes(data, {"model": b"1"}, insert=True) == data


def test_an_object_that_breaks_off_has_what_was_whole() -> None:
    assert find((b'{"model":"a","stream":tr',), ["model", "stream"]) == Found(
        members=find((b'{"model":"a"}',), ["model"]).members, opened=1, empty=False
    )


def test_a_body_in_a_file_is_spliced_in_little_memory() -> None:
    spool = Spool()
    spool.write(b'{"input":"')
    for _ in range(40):
        spool.write(b"x" * PIECE)
    spool.write(b'","model":"old","tail":[1]}')
    large = spool.done()
    tracemalloc.start()
    found = find(large.pieces(), ["model", "input"])
    spliced = splice(large, found, {"model": b'"brand-new"', "extra": b"1"}, insert=True)
    size, end = 0, b""
    for piece in spliced.pieces():
        size += len(piece)
        end = (end + piece)[-80:]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.last("input") is None
    assert size == spliced.size == large.size + len(b'"brand-new"') - len(b'"old"') + len(b'"extra":1,')
    assert end.endswith(b'x","model":"brand-new","tail":[1]}')
    assert peak < 4 * PIECE


def test_a_span_over_several_pieces_is_replaced_once() -> None:
    spool = Spool()
    spool.write(b'{"input":"' + b"y" * (3 * PIECE) + b'","model":"m"}')
    large = spool.done()
    spliced = splice(large, find(large.pieces(), ["input"]), {"input": b"0"}, insert=False)
    assert b"".join(spliced.pieces()) == b'{"input":0,"model":"m"}'


def test_scanning_ends_with_the_object() -> None:
    top = TopLevel(["model"])
    top.feed(b'{"model":1} trailing {"model":2}')
    assert [member.value for member in top.members] == [b"1"]
    assert top.ended
