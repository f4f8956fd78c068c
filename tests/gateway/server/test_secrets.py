"""The real key is in no record, no log and no error, and reaches no agent; a policy keeps models off the web."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.parse
import zlib
from collections.abc import Callable

import pytest
import zstandard
from gateway_world import CHAT, KEY, TOKEN, Got, World, read_message, request, whole
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.errors import InputError
from bakeoff.gateway.coding import Decoder
from bakeoff.gateway.forward import Client
from bakeoff.gateway.mask import Mask, Watch
from bakeoff.gateway.options import Options, parse
from bakeoff.gateway.policy import Policy
from bakeoff.gateway.retries import Retry
from bakeoff.gateway.traffic import Broken


def forms(secret: str) -> list[str]:
    raw = secret.encode()
    return [
        secret,
        base64.b64encode(raw).decode().rstrip("=")[:-1],
        urllib.parse.quote(secret),
        raw.hex(),
        json.dumps(secret)[1:-1],
    ]


async def test_no_key_anywhere(
    world: World, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    caplog.set_level(0)

    async def script(got: Got, writer: asyncio.StreamWriter) -> None:
        told = json.dumps([got.line, got.headers]).encode()
        number = len(world.got)
        if number == 1:
            writer.write(whole(told, ("X-Echo", f"Bearer {KEY}"), status="401 Unauthorized"))
        elif number == 2:
            body = b"data: " + told + b"\n\n"
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(body), 7):
                part = body[at : at + 7]
                writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                await writer.drain()
                await asyncio.sleep(0)
            writer.write(b"0\r\n\r\n")
        elif number == 3:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + told)
            writer.close()
        else:
            writer.write(told)
            writer.close()

    world.script = script
    session, served = await world.served()
    reader, writer = await world.connect(served)
    writer.write(request(b"{}"))
    answers = [repr(await read_message(reader))]
    writer.write(request(b"{}"))
    answers.append(repr(await read_message(reader)))
    writer.write(request(b"{}"))
    answers.append(repr(await reader.read()))
    answers.append(repr(await world.ask(served, path=f"/google/v1beta/models/m:generateContent?key={TOKEN}")))
    assert len(world.got) > 4
    assert KEY in repr(world.got[0].headers)
    assert "*" * len(KEY) in answers[0]
    seen = [
        *answers,
        *(kept.everything() for kept in world.memory.kept),
        caplog.text,
        *capfd.readouterr(),
        *(str(warning.message) for warning in recwarn),
        repr(vars(session)),
        repr(world.client.route("openai")),
        session.fault,
    ]
    assert [form for form in forms(KEY) for text in seen if form in text] == []
    assert [kept.ended for kept in world.memory.kept] == ["complete", "complete", "cut", "error"]


async def test_a_provider_that_is_not_set_up_says_what_is_missing() -> None:
    def find(name: str) -> None:
        raise InputError("no key for anthropic", where="model", wanted="ANTHROPIC_API_KEY in the environment")

    async with World() as world, Client(find, retry=Retry(tries=1)) as client:  # type: ignore[arg-type]
        world.client = client
        session, served = await world.served()
        line, _, body = await world.ask(served, path="/anthropic/v1/messages")
        assert line == "HTTP/1.1 400 Bad Request"
        error = json.loads(body)["error"]
        assert error["type"] == "provider_unavailable"
        assert "ANTHROPIC_API_KEY" in error["message"]
        assert not session.stopped.done()


@given(st.lists(st.sampled_from([b"sk-", b"sk-ab", b"ab", b"s", b"k-a", b"sk-abab", b"xy\n", b"b"]), max_size=12))
@settings(max_examples=80, deadline=None)
def test_a_secret_is_masked_wherever_the_pieces_end(pieces: list[bytes]) -> None:
    mask = Mask("sk-abab")
    out = b"".join([*(mask.feed(piece) for piece in pieces), mask.end()])
    assert out == b"".join(pieces).replace(b"sk-abab", b"*******")


SEARCHES = [
    (CHAT, {"web_search_options": {}}),
    (CHAT, {"model": "x/y:online"}),
    (CHAT, {"plugins": [{"id": "web"}]}),
    ("/openai/v1/responses", {"tools": [{"type": "function"}, {"type": "web_search_preview_2025_03_11"}]}),
    ("/anthropic/v1/messages", {"tools": [{"type": "web_fetch_20250910", "name": "f"}]}),
    ("/google/v1beta/models/m:generateContent", {"tools": [{"googleSearch": {}}]}),
    ("/google/v1beta/models/m:generateContent", {"tools": [{"functionDeclarations": []}, {"url_context": {}}]}),
    ("/v1/unknown", {"tools": [{"type": "web_search"}]}),
]


@pytest.mark.parametrize(("path", "value"), SEARCHES)
async def test_a_search_at_the_provider_is_refused_where_the_policy_says_so(
    world: World, path: str, value: dict[str, object]
) -> None:
    session, served = await world.served(world.session(policy=Policy(web_search=False)))
    line, _, body = await world.ask(served, json.dumps(value).encode(), path=path)
    assert line == "HTTP/1.1 400 Bad Request"
    assert b"tool_refused" in body
    assert (world.got, session.stopped.done()) == ([], False)
    assert [(kept.via, kept.ended) for kept in world.memory.kept] == [("gateway", "complete")]
    _, served = await world.served(world.session())
    await world.ask(served, json.dumps(value).encode(), path=path)
    assert len(world.got) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"tools":[{"type":"function","name":"web_search"}],"messages":[{"content":"web_search"}]}',
        b'{"web_search_options":null,"tools":null,"model":"online"}',
        b"{}",
    ],
)
async def test_tools_of_the_agents_own_are_no_search(world: World, body: bytes) -> None:
    _, served = await world.served(world.session(policy=Policy(web_search=False)))
    assert (await world.ask(served, body))[0] == "HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (b"\x00", ("Content-Encoding", "br")),
        (b"not gzip", ("Content-Encoding", "gzip")),
        (b'{"tools":[{"type":"web_search"}],"tools":[]}', ("X-A", "b")),
        (b'{"tools":[\xff]}', ("X-A", "b")),
    ],
)
async def test_what_cannot_be_read_is_no_way_around_the_policy(
    world: World, body: bytes, header: tuple[str, str]
) -> None:
    _, served = await world.served(world.session(policy=Policy(web_search=False)))
    assert b"tool_refused" in (await world.ask(served, body, header))[2]
    assert world.got == []


async def test_a_body_that_must_be_written_into_and_cannot_be_read_is_refused(world: World) -> None:
    _, served = await world.served(world.session(options=Options(temperature=1)))
    for coding in ("br", "gzip"):
        _, _, body = await world.ask(served, b"opaque bytes", ("Content-Encoding", coding))
        assert b"unreadable_body" in body
    assert world.got == []


def test_options_of_a_model_are_read() -> None:
    assert parse({}) == Options()
    assert parse({"temperature": "0.5", "max_tokens": "10", "extra_body": '{"a":[1]}'}) == Options(
        0.5, None, 10, {"a": [1]}
    )
    for name, text in (
        ("temperature", "hot"),
        ("temperature", "-1"),
        ("temperature", "true"),
        ("temperature", "NaN"),
        ("top_p", "null"),
        ("max_tokens", "1.5"),
        ("max_tokens", "0"),
        ("extra_body", "[]"),
        ("extra_body", "{"),
    ):
        with pytest.raises(InputError, match=f"--model-option: {name}: not a value of this option"):
            parse({name: text})
    with pytest.raises(InputError, match="did you mean 'temperature'"):
        parse({"temprature": "1"})


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
@pytest.mark.parametrize("flushed", [True, False])
def test_a_compressed_answer_is_cut_before_the_key_is_whole(coding: str, flushed: bool) -> None:
    before, after = b"x" * 5000 + b" the key is ", b" and that was it"
    packed, flush = _packer(coding)
    parts = [packed(before), flush()] if flushed else [packed(before)]
    for at in range(len(KEY)):
        parts += [packed(KEY[at : at + 1].encode()), flush()] if flushed else [packed(KEY[at : at + 1].encode())]
    watch = Watch(KEY, (coding,))
    passed = b""
    with pytest.raises(Broken):
        for part in (*parts, packed(after), flush()):
            passed += watch.feed(part)
    out: list[bytes] = []
    Decoder((coding,), out.append).feed(passed)
    assert KEY[:1].encode() not in b"".join(out)[len(before) :]
    assert before.startswith(b"".join(out)[: len(before)])


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "zstd"]), st.integers(1, 50), st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_compressed_answer_without_the_key_goes_on_unchanged(
    data: bytes, coding: str, size: int, sound: bool
) -> None:
    packed, flush = _packer(coding)
    whole = packed(data + KEY[:-1].encode()) + flush() if sound else data
    watch = Watch(KEY, (coding,))
    passed = [watch.feed(whole[at : at + size]) for at in range(0, len(whole), size)]
    assert b"".join(passed) + watch.end() == whole


def _packer(coding: str) -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    """Compress more, and give out all that was."""
    if coding == "zstd":
        packer = zstandard.ZstdCompressor().compressobj()
        return packer.compress, lambda: packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    deflate = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
    return deflate.compress, lambda: deflate.flush(zlib.Z_SYNC_FLUSH)
