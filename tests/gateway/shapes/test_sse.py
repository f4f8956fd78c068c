"""Server-sent events, as the standard has them and as they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.gateway.shapes import sse
from bakeoff.gateway.shapes.sse import Event

lines = st.binary(max_size=30).filter(lambda line: b"\n" not in line and b"\r" not in line)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_counts(end: bytes) -> None:
    body = end.join([b": a comment", b"event: one", b"data: first", b"data:second", b"id: 3", b"", b"data", b"", b""])
    assert list(sse.parse(body)) == [Event("one", b"first\nsecond"), Event("", b"")]


def test_an_event_without_data_is_none() -> None:
    assert list(sse.parse(b"event: ping\n\n: x\n\ndata: 1\n\n")) == [Event("", b"1")]


def test_what_came_of_the_last_event_is_given() -> None:
    assert list(sse.parse(b'data: {"a":1}\n\ndata: {"b"')) == [Event("", b'{"a":1}'), Event("", b'{"b"')]


def test_a_byte_order_mark_is_passed_over() -> None:
    assert list(sse.parse(b"\xef\xbb\xbfdata: 1\n\n")) == [Event("", b"1")]


@given(st.lists(st.tuples(st.sampled_from(["", "message_start"]), st.lists(lines, min_size=1, max_size=3)), max_size=5))
def test_what_was_written_is_read_back(events: list[tuple[str, list[bytes]]]) -> None:
    wanted = [Event(name, b"\n".join(data)) for name, data in events]
    assert list(sse.parse(b"".join(sse.render(event.data, event.name) for event in wanted))) == wanted


@given(st.binary(max_size=200))
def test_any_bytes_can_be_read(body: bytes) -> None:
    assert all(isinstance(event, Event) for event in sse.parse(body))
