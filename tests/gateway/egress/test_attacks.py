"""What code in a sandbox tries against the proxy: other spellings, answers that change, requests that are read in two ways."""

from __future__ import annotations

import asyncio
import time

import pytest

from bakeoff.gateway.egress import upstream
from bakeoff.gateway.egress.env import PORT

NINE = [["9.9.9.9"]]


async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "0.0.0.0", "[::1]", "[::]", "localhost"),
        *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[fe80::1]", "169.254.169.254", "LOCALHOST."),
        *("[fd00:ec2::254]", "169.254.43518", "10.0.0.1", "[fd00::1]", "intranet", "127.0.0.1."),
    ],
)
@pytest.mark.parametrize("request_line", ["CONNECT {}:8080", "GET http://{}:8080/"])
async def test_nothing_of_this_machine_or_its_networks_is_reached(world, serve, host, request_line) -> None:
    world.names |= {"localhost": [["127.0.0.1", "::1"]], "intranet": [["10.1.1.1", "fd00::2"]]}
    served = await serve()
    answer = await served.ask(f"{request_line.format(host)} HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith("HTTP/1.1 403 ") and "bakeoff's network proxy" in answer
    assert world.connected == []
    assert served.entries[0].decision == "refused"


async def test_the_machines_own_resolver_and_addresses_are_judged_too(serve, world) -> None:
    served = await serve()
    served.proxy._way_out = upstream.WayOut()
    answer = await served.get("http://localhost:1/")
    assert answer.startswith("HTTP/1.1 403 ") and "resolves to a loopback address" in answer
    assert world.connected == []


def test_this_machines_addresses_are_known_without_asking_anybody() -> None:
    import ipaddress

    assert upstream.is_own(ipaddress.ip_address("127.0.0.1"))
    assert not upstream.is_own(ipaddress.ip_address("9.9.9.9"))


async def test_the_proxys_own_port_is_no_way_to_anything(world, serve) -> None:
    served = await serve("127.0.0.1", "localhost", "127.0.0.0/8")
    for port in (PORT, served.port):
        assert (await served.ask(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())).startswith("HTTP/1.1 403 ")
    assert world.connected == []


async def test_a_name_that_answers_differently_the_second_time_is_looked_up_once_for_each_connection(
    world, serve, origin
) -> None:
    port = await origin(hello)
    world.names["rebinding.example"] = [["9.9.9.9"], ["127.0.0.1"]]
    served = await serve("rebinding.example")
    assert "200 OK" in await served.get(f"http://rebinding.example:{port}/")
    assert world.lookups == ["rebinding.example"] and world.connected == ["9.9.9.9"]
    assert (await served.get(f"http://rebinding.example:{port}/")).startswith("HTTP/1.1 403 ")
    assert world.connected == ["9.9.9.9"]


async def test_of_a_mixed_answer_only_what_is_allowed_is_connected_to(world, serve, origin) -> None:
    port = await origin(hello)
    world.names["mixed.example"] = [["127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "9.9.9.9"]]
    assert "200 OK" in await (await serve()).get(f"http://mixed.example:{port}/")
    assert world.connected == ["9.9.9.9"]


async def test_a_redirect_leads_no_further_than_a_request(world, serve, origin) -> None:
    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/\r\nContent-Length: 0\r\n\r\n")

    port = await origin(redirect)
    world.names["redirecting.example"] = NINE
    served = await serve()
    answer = await served.get(f"http://redirecting.example:{port}/")
    where = answer.partition("Location: ")[2].split("\r\n")[0]
    assert (await served.get(where)).startswith("HTTP/1.1 403 ")
    assert world.connected == ["9.9.9.9"]


async def test_a_name_that_is_not_listed_is_not_even_looked_up(world, serve) -> None:
    served = await serve("repo.example")
    assert (await served.get("http://the-secret.evil.example/")).startswith("HTTP/1.1 403 ")
    assert (await served.ask(b"CONNECT the-secret.evil.example:443 HTTP/1.1\r\n\r\n")).startswith("HTTP/1.1 403 ")
    assert world.lookups == []


@pytest.mark.parametrize(
    "request_text",
    [
        "GET / HTTP/1.1\r\nHost: repo.example\r\n\r\n",
        "GET //repo.example/ HTTP/1.1\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n\r\n",
        "GET https://repo.example/ HTTP/1.1\r\n\r\n",
        "GET ftp://repo.example/ HTTP/1.1\r\n\r\n",
        "GET http://repo.example@evil.example/ HTTP/1.1\r\n\r\n",
        "GET http://evil.example\\@repo.example/ HTTP/1.1\r\n\r\n",
        "GET http://repo.example%2eevil.example/ HTTP/1.1\r\n\r\n",
        "GET http://repo.example#@evil.example/ HTTP/1.1\r\n\r\n",
        "GET http://repo.example:80:81/ HTTP/1.1\r\n\r\n",
        "GET http:///path HTTP/1.1\r\n\r\n",
        "CONNECT repo.example HTTP/1.1\r\n\r\n",
        "CONNECT repo.example:0 HTTP/1.1\r\n\r\n",
        "CONNECT me@repo.example:443 HTTP/1.1\r\n\r\n",
        "CONNECT http://repo.example:443 HTTP/1.1\r\n\r\n",
        "CONNECT repo.example:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        "CONNECT repo.example:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "CONNECT [fe80::1%25eth0]:443 HTTP/1.1\r\n\r\n",
        "GET  http://repo.example/ HTTP/1.1\r\n\r\n",
        "GET http://repo.example/ HTTP/1.1 \r\n\r\n",
        "GET http://repo.example/ x HTTP/1.1\r\n\r\n",
        "GET http://repo.example/ HTTP/2.0\r\n\r\n",
        "G\x00ET http://repo.example/ HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_no_plain_request_of_a_proxy_goes_nowhere(world, serve, request_text: str) -> None:
    world.names |= {"repo.example": NINE, "evil.example": NINE}
    served = await serve()
    answer = await served.ask(request_text.encode("latin-1"))
    assert answer.split()[1] in ("400", "505"), answer
    assert world.connected == [] and world.lookups == []


POST = "POST http://repo.example:{port}/ HTTP/1.1\r\n"


@pytest.mark.parametrize(
    "request_text",
    [
        POST + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\n\r\n",
        POST + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        POST + "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
        POST + "Content-Length: 4, 4\r\n\r\nabcd",
        POST + "Content-Length: +4\r\n\r\nabcd",
        POST + "Content-Length: 0x4\r\n\r\nabcd",
        POST + "Content-Length: -1\r\n\r\nabcd",
        POST + "Content-Length: 4_0\r\n\r\nabcd",
        POST + "Content-Length : 4\r\n\r\nabcd",
        POST + " Content-Length: 4\r\n\r\nabcd",
        POST + "X: y\r\n Content-Length: 4\r\n\r\nabcd",
        POST + "X: y\nContent-Length: 4\r\n\r\nabcd",
        POST + "X: y\rContent-Length: 4\r\n\r\nabcd",
        POST + "X: y\x00z\r\n\r\n",
        POST + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        POST + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        POST.replace("1.1", "1.0") + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + "Host: a\r\nHost: b\r\n\r\n",
    ],
)
async def test_a_request_that_could_be_read_in_two_ways_is_not_passed_on(
    world, serve, origin, request_text: str
) -> None:
    port = await origin(hello)
    world.names["repo.example"] = NINE
    served = await serve("repo.example")
    answer = await served.ask(request_text.format(port=port).encode("latin-1"))
    assert answer.split()[1] in ("400", "501"), answer
    assert answer.count("HTTP/1.1") == 1
    assert world.connected == [] and served.ledger.record().malformed == 1


@pytest.mark.parametrize(
    "body",
    [
        *(
            "5\r\nhello",
            "5\r\nhelloGET /hidden HTTP/1.1\r\n\r\n",
            "zz\r\n",
            "-1\r\n",
            "1 2\r\n",
            "5\nhello\r\n",
            "f" * 5000,
        ),
        *("0x5\r\nhello\r\n0\r\n\r\n", "0\r\n" + "x: y\r\n" * 20_000 + "\r\n"),
    ],
)
async def test_chunks_that_are_none_end_the_request(world, serve, origin, body: str) -> None:
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = bytearray()
        try:
            while piece := await reader.read(1 << 16):
                body += piece
        finally:
            heard.set_result(bytes(body))

    port = await origin(handle)
    world.names["repo.example"] = NINE
    client = await (await serve()).connect()
    text = POST.format(port=port) + "Transfer-Encoding: chunked\r\n\r\n" + body
    await client.send(text.encode())
    client.writer.write_eof()
    answer = (await client.rest()).decode()
    assert answer.count("HTTP/1.1") <= 1 and "200 OK" not in answer
    passed_on = await asyncio.wait_for(heard, 10)
    assert b"hidden" not in passed_on and not passed_on.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET http://repo.example/" + "a" * 70_000 + " HTTP/1.1\r\n\r\n", "431"),
        ("GET http://repo.example/ HTTP/1.1\r\nX: " + "y" * 70_000 + "\r\n\r\n", "431"),
        ("GET http://repo.example/ HTTP/1.1\r\n" + "X: y\r\n" * 300 + "\r\n", "431"),
        ("x" * 200_000, "431"),
    ],
)
async def test_headers_without_end_are_cut_off(world, serve, head: str, status: str) -> None:
    answer = await (await serve()).ask(head.encode())
    assert answer.split()[1] == status and world.lookups == []


async def test_a_request_that_trickles_in_is_given_up_and_holds_up_nobody(world, serve, origin) -> None:
    port = await origin(hello)
    world.names["repo.example"] = NINE
    served = await serve(head_sec=0.3, connections=4)
    slow = [await served.connect() for _ in range(4)]
    for client in slow:
        await client.send(b"GET http://repo.example/ HTTP/1.1\r\nX: ")
    begun = time.monotonic()
    asking = asyncio.create_task(served.get(f"http://repo.example:{port}/"))
    for client in slow:
        await client.send(b"y")
        assert (await client.rest()).split()[1] == b"408"
        client.writer.close()
    assert "200 OK" in await asking
    assert time.monotonic() - begun < 5


async def test_more_connections_than_there_may_be_wait_for_their_turn(world, serve, origin) -> None:
    port = await origin(hello)
    world.names["repo.example"] = NINE
    served = await serve(connections=3, waiting_sec=0.05)
    asked = [served.get(f"http://repo.example:{port}/") for _ in range(30)]
    assert all("200 OK" in answer for answer in await asyncio.gather(*asked))


async def test_a_name_server_that_never_answers_holds_up_no_other_lookup_of_the_harness(serve, world) -> None:
    served = await serve()
    stuck = asyncio.Event()

    async def never(_name: str) -> list[str]:
        await stuck.wait()
        return ["9.9.9.9"]

    served.proxy._way_out = upstream.WayOut(never)
    asking = [asyncio.create_task(served.get(f"http://h{number}.example/")) for number in range(20)]
    await asyncio.sleep(0.05)
    # The machine's own resolver has a thread for each lookup, none of those that the harness works with.
    assert await asyncio.wait_for(asyncio.to_thread(lambda: 1), 5) == 1
    assert await asyncio.wait_for(upstream.resolve_here("localhost"), 5)
    for task in asking:
        task.cancel()
