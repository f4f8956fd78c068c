"""HTTP as it comes from code that nobody trusts: read in one way, or refused."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bakeoff.gateway.egress.messages import (
    HEAD_LIMIT,
    LAST_CHUNK,
    Ended,
    Framing,
    Malformed,
    chunk,
    end_to_end,
    parse_request,
    parse_response,
    read_body,
    read_head,
)

TOKENS = st.from_regex(rb"[A-Za-z0-9-]{1,10}", fullmatch=True)
VALUES = st.from_regex(rb"[\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]{0,20}[\x21-\x7e\x80-\xff])?", fullmatch=True)
FRAMES = (b"content-length", b"transfer-encoding", b"host")


def reader_of(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=HEAD_LIMIT)
    reader.feed_data(data)
    reader.feed_eof()
    return reader


def body_of(data: bytes, framing: Framing) -> bytes:
    async def read() -> bytes:
        return b"".join([piece async for piece in read_body(reader_of(data), framing)])

    return asyncio.run(read())


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([b"GET ", b"http://a/", b" HTTP/1.1", b"\r\n", b": ", b"\n", b"x"])).map(b"".join)
)
@example(b"GET http://a/ HTTP/1.1\r\nContent-Length: \xb2")
def test_any_bytes_are_a_request_or_malformed(data: bytes) -> None:
    for parse in (parse_request, lambda head: parse_response(head, b"GET")):
        try:
            read = parse(data)
        except Malformed as error:
            assert error.status in (400, 431, 501, 505)
            continue
        assert not any(b"\n" in part or b"\0" in part for field in read.fields for part in field)


@given(st.lists(st.tuples(TOKENS, VALUES).filter(lambda field: field[0].lower() not in FRAMES), max_size=8))
def test_headers_come_out_as_they_went_in(fields: list[tuple[bytes, bytes]]) -> None:
    lines = b"".join(b"%b:\t%b \r\n" % field for field in fields)
    assert (
        list(
            parse_request(
                b"GET http://a/ HTTP/1.1\r\n" + lines.removesuffix(b"\r\n") if lines else b"GET / HTTP/1.1"
            ).fields
        )
        == fields
    )


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=6), st.binary(max_size=20))
def test_chunks_come_out_as_the_bytes_that_went_in_and_no_further(pieces: list[bytes], rest: bytes) -> None:
    coded = b"".join(map(chunk, pieces)) + LAST_CHUNK

    async def read() -> tuple[bytes, bytes]:
        reader = reader_of(coded + rest)
        body = b"".join([piece async for piece in read_body(reader, Framing(chunked=True))])
        return body, await reader.read()

    assert asyncio.run(read()) == (b"".join(pieces), rest)


@given(st.binary(max_size=60) | st.from_regex(rb"[0-9a-f\r\n;]{0,20}", fullmatch=True))
def test_any_bytes_are_chunks_or_an_error_and_never_more_than_there_were(data: bytes) -> None:
    try:
        assert len(body_of(data, Framing(chunked=True))) <= len(data)
    except (Malformed, Ended):
        pass


def test_a_body_that_breaks_off_is_an_error() -> None:
    assert body_of(b"abc", Framing(length=3)) == body_of(b"abc", Framing()) == b"abc"
    with pytest.raises(Ended):
        body_of(b"abc", Framing(length=4))


def test_a_head_is_read_to_its_end_and_an_empty_line_before_it_passed_over() -> None:
    async def heads() -> None:
        reader = reader_of(b"\r\nGET http://a/ HTTP/1.1\r\nA: b\r\n\r\nrest")
        assert await read_head(reader) == b"GET http://a/ HTTP/1.1\r\nA: b"
        with pytest.raises(Ended) as error:
            await read_head(reader)
        assert not error.value.clean
        with pytest.raises(Ended) as error:
            await read_head(reader)
        assert error.value.clean

    asyncio.run(heads())


def test_what_connection_names_goes_no_further() -> None:
    request = parse_request(
        b"GET http://a/ HTTP/1.1\r\nConnection: x-mine, Keep-Alive\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nTE: x\r\nX-Other: 2"
    )
    assert end_to_end(request.fields) == [(b"X-Other", b"2")]
