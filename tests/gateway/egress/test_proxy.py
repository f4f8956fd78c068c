"""The proxy between a sandbox and the internet: what passes, in whole and unchanged, and what it answers itself."""

from __future__ import annotations

import asyncio

import pytest

from bakeoff.gateway.egress.record import ENTRIES, Ledger
from bakeoff.gateway.egress.targets import Target
from bakeoff.tasks.model import Network, NetworkMode

NINE = [["9.9.9.9"]]


def says(answer: bytes, heads: list[str] | None = None, *, close: bool = True):
    """An origin that answers every request with these bytes, and keeps what was asked."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            if heads is not None:
                heads.append(head)
            writer.write(answer)
            await writer.drain()
            if close:
                return

    return handle


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


async def test_a_tunnel_passes_bytes_both_ways_and_half_of_it_can_end(world, serve, origin) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = await reader.read()  # to the end of the client's half
        writer.write(heard[::-1])
        await writer.drain()

    port = await origin(handle)
    world.names["repo.example"] = NINE
    served = await serve("repo.example")
    client = await served.connect()
    await client.send(f"CONNECT repo.example:{port} HTTP/1.1\r\nHost: repo.example:{port}\r\n\r\nearly ".encode())
    assert "200" in await client.head()
    await client.send(b"bytes")
    client.writer.write_eof()
    assert await client.rest() == b"setyb ylrae"
    entry = served.entries[0]
    assert (entry.host, entry.port, entry.methods, entry.decision) == ("repo.example", port, ("CONNECT",), "allowed")
    assert (entry.sent_bytes, entry.received_bytes, entry.count) == (11, 11, 1)
    assert world.connected == ["9.9.9.9"]


async def test_a_plain_request_reaches_its_origin_with_its_own_headers_alone(world, serve, origin) -> None:
    heads: list[str] = []
    port = await origin(says(OK, heads))
    world.names["repo.example"] = NINE
    served = await serve("repo.example")
    answer = await served.get(
        f"http://Repo.Example.:{port}/a/b?c=d%20e",
        "Host: other.example",
        "Proxy-Authorization: Basic x",
        "Proxy-Connection: keep-alive, X-Mine",
        "X-Mine: 1",
        "Upgrade: h2c",
        "TE: trailers",
        "Accept: */*",
    )
    assert answer.startswith("HTTP/1.1 200 OK\r\n") and answer.endswith("hello")
    assert heads == [f"GET /a/b?c=d%20e HTTP/1.1\r\nHost: repo.example:{port}\r\nAccept: */*\r\n\r\n"]


@pytest.mark.parametrize(("url", "line"), [("", "GET / HTTP/1.1"), ("?q=1", "GET /?q=1 HTTP/1.1")])
async def test_an_address_without_a_path_has_the_root(world, serve, origin, url: str, line: str) -> None:
    heads: list[str] = []
    port = await origin(says(OK, heads))
    world.names["repo.example"] = NINE
    await (await serve()).get(f"http://repo.example:{port}{url}")
    assert heads[0].split("\r\n")[0] == line


async def test_requests_follow_each_other_on_one_connection_and_pipelined(world, serve, origin) -> None:
    heads: list[str] = []
    port = await origin(says(OK, heads, close=False))
    world.names["repo.example"] = NINE
    served = await serve("repo.example")
    client = await served.connect()
    await client.send(b"".join(f"GET http://repo.example:{port}/{at} HTTP/1.1\r\n\r\n".encode() for at in (1, 2)))
    for _ in range(2):
        assert "Connection: keep-alive" in await client.head()
        assert await client.reader.readexactly(5) == b"hello"
    assert [head.split()[1] for head in heads] == ["/1", "/2"]
    assert world.connected == ["9.9.9.9"] and served.entries[0].count == 2


async def test_a_kept_connection_that_was_closed_meanwhile_is_made_anew(world, serve, origin) -> None:
    port = await origin(says(OK))  # closes after each answer, and does not say so
    world.names["repo.example"] = NINE
    client = await (await serve()).connect()
    for _ in range(3):
        await client.send(f"GET http://repo.example:{port}/ HTTP/1.1\r\n\r\n".encode())
        assert "200" in await client.head()
        assert await client.reader.readexactly(5) == b"hello"
    assert len(world.connected) == 3


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_goes_up_whole_after_the_origin_wants_it(world, serve, origin, chunked: bool) -> None:
    body = bytes(range(256)) * 1000
    seen: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        got = b""
        if chunked:
            while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
                got += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        else:
            got = await reader.readexactly(len(body))
        seen.append(got)
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    port = await origin(handle)
    world.names["repo.example"] = NINE
    client = await (await serve()).connect()
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    await client.send(f"PUT http://repo.example:{port}/x HTTP/1.1\r\nExpect: 100-continue\r\n{length}\r\n\r\n".encode())
    assert "100 Continue" in await client.head()
    if chunked:
        for at in range(0, len(body), 7000):
            piece = body[at : at + 7000]
            await client.send(b"%x;extension=1\r\n%b\r\n" % (len(piece), piece))
        await client.send(b"0\r\nTrailer-Field: x\r\n\r\n")
    else:
        await client.send(body)
    assert "201 Created" in await client.head()
    assert seen[1] == body
    assert b"Trailer-Field" not in seen[1]


@pytest.mark.parametrize(
    ("answer", "version", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "1.1", "abcde"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "1.0", "abcde"),
        (b"HTTP/1.0 200 OK\r\n\r\nabcde", "1.1", "abcde"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "1.1", ""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n", "1.1", ""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz", "1.0", "z"),
    ],
)
async def test_every_form_of_body_arrives(world, serve, origin, answer: bytes, version: str, expected: str) -> None:
    port = await origin(says(answer))
    world.names["repo.example"] = NINE
    served = await serve()
    got = await served.ask(f"GET http://repo.example:{port}/ HTTP/{version}\r\nConnection: close\r\n\r\n".encode())
    head, _, body = got.partition("\r\n\r\n")
    if "chunked" in head:
        assert version == "1.1"
        lines = body.split("\r\n")
        body = "".join(lines[1::2])
    assert body == expected


async def test_the_answer_to_head_has_its_length_and_no_body(world, serve, origin) -> None:
    port = await origin(says(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"))
    world.names["repo.example"] = NINE
    request = f"HEAD http://repo.example:{port}/ HTTP/1.1\r\nConnection: close\r\n\r\n"
    got = await (await serve()).ask(request.encode())
    assert "Content-Length: 12345\r\n" in got and got.endswith("\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"", "502"),
        (b"SSH-2.0-server\r\n\r\n", "502"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "502"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "502"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "502"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", "502"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 50, "502"),
    ],
)
async def test_an_origin_that_answers_nonsense_is_named(world, serve, origin, answer: bytes, status: str) -> None:
    port = await origin(says(answer))
    world.names["repo.example"] = NINE
    got = await (await serve()).get(f"http://repo.example:{port}/")
    assert f"HTTP/1.1 {status} " in got and f"repo.example:{port}" in got


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf!\r\n",
    ],
)
async def test_an_answer_that_breaks_off_is_not_made_whole(world, serve, origin, answer: bytes) -> None:
    port = await origin(says(answer))
    world.names["repo.example"] = NINE
    got = await (await serve()).get(f"http://repo.example:{port}/")
    assert "half" in got and got.count("HTTP/1.1") == 1
    assert "0\r\n\r\n" not in got.partition("\r\n\r\n")[2]


async def test_an_origin_that_answers_before_the_end_of_a_body_is_heard(world, serve, origin) -> None:
    port = await origin(says(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
    world.names["repo.example"] = NINE
    client = await (await serve()).connect()
    await client.send(f"POST http://repo.example:{port}/ HTTP/1.1\r\nContent-Length: 99999999\r\n\r\nfirst".encode())
    assert "413" in await client.head()


async def test_whoever_reads_slowly_slows_the_origin_and_nothing_piles_up(world, serve, origin) -> None:
    sent = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(1 << 16))
            await writer.drain()
            sent += 1 << 16

    port = await origin(handle)
    world.names["repo.example"] = NINE
    client = await (await serve()).connect()
    client.reader._limit = 1  # type: ignore[attr-defined]  # this end takes nothing either
    await client.send(f"GET http://repo.example:{port}/ HTTP/1.1\r\n\r\n".encode())
    before = -1
    while sent != before:  # until everything stands still
        before = sent
        await asyncio.sleep(0.2)
    assert 0 < sent < 32 << 20  # what the kernel holds for the four ends of two connections


async def test_what_moves_nothing_ends_in_time(world, serve, origin) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    port = await origin(silent)
    world.names["repo.example"] = NINE
    served = await serve(idle_sec=0.1, waiting_sec=0.1)
    assert "HTTP/1.1 504 " in await served.get(f"http://repo.example:{port}/")
    tunnel = await served.connect()
    await tunnel.send(f"CONNECT repo.example:{port} HTTP/1.1\r\n\r\n".encode())
    assert "200" in await tunnel.head()
    assert await tunnel.rest() == b""
    assert await (await served.connect()).rest() == b""


async def test_a_change_of_the_network_ends_what_it_does_not_allow(world, serve, origin) -> None:
    port = await origin(says(OK, close=False))
    world.names["repo.example"] = NINE
    served = await serve("repo.example")
    tunnel = await served.connect()
    await tunnel.send(f"CONNECT repo.example:{port} HTTP/1.1\r\n\r\n".encode())
    assert "200" in await tunnel.head()
    await served.use(NetworkMode.ALLOWLIST, "repo.example")
    await tunnel.send(b"GET / HTTP/1.1\r\n\r\n")
    assert "200 OK" in await tunnel.head()
    await served.use(NetworkMode.NONE)
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        await tunnel.reader.readexactly(100)
    assert "this phase of the task has no network" in await served.get(f"http://repo.example:{port}/")


async def test_a_closed_proxy_holds_nothing(world, serve, origin) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    port = await origin(silent)
    world.names["repo.example"] = NINE
    served = await serve()
    tunnel = await served.connect()
    await tunnel.send(f"CONNECT repo.example:{port} HTTP/1.1\r\n\r\n".encode())
    assert "200" in await tunnel.head()
    idle = await served.connect()
    await served.proxy.close()
    for client in (tunnel, idle):
        try:
            assert await client.rest() == b""
        except ConnectionError:
            pass


async def test_an_unknown_name_and_a_closed_port_are_told_from_a_refusal(world, serve) -> None:
    world.names["gone.example"] = NINE
    served = await serve()
    unresolved = await served.get("http://nowhere.example/")
    assert "HTTP/1.1 502 " in unresolved and "cannot resolve the name" in unresolved
    unreachable = await served.get("http://gone.example:1/")
    assert "HTTP/1.1 502 " in unreachable and "Connection refused" in unreachable
    assert [(entry.decision, entry.reason) for entry in served.entries] == [
        ("failed", "unresolved"),
        ("failed", "unreachable"),
    ]


async def test_the_next_address_is_tried_where_one_does_not_answer(world, serve, origin, monkeypatch) -> None:
    from bakeoff.gateway.egress import upstream

    port = await origin(says(OK))
    through = upstream._connect_to

    async def connect_to(target: Target, address: object) -> upstream.Upstream:
        if str(address) == "9.9.9.9":
            raise OSError("no route")
        return await through(target, address)  # type: ignore[arg-type]

    monkeypatch.setattr(upstream, "_connect_to", connect_to)
    world.names["repo.example"] = [["9.9.9.9", "149.112.112.112"]]
    assert "200 OK" in await (await serve()).get(f"http://repo.example:{port}/")
    assert world.connected == ["149.112.112.112"]


def test_the_record_is_bounded_whatever_is_asked() -> None:
    ledger = Ledger()
    phase = ledger.begin("agent", "", Network(NetworkMode.PUBLIC))
    for number in range(ENTRIES + 500):
        ledger.note(phase, "M" * 50_000, Target(f"h{number}.example", 80), "refused", "not_listed")
    for number in range(100):
        ledger.note(phase, f"METHOD{number}", Target("h0.example", 80), "refused", "not_listed")
    record = ledger.record()
    assert len(record.entries) == ENTRIES and record.omitted == 500
    assert record.entries[0].count == 101 and len(record.entries[0].methods) <= 8
    assert all(len(method) <= 20 for entry in record.entries for method in entry.methods)
