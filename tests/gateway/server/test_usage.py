"""What an answer says of tokens is read from its bytes as they pass."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Iterable

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.gateway.usage import LONGEST, Meter, Reading
from bakeoff.records.exchanges import Api, Headers

EVENTS: Headers = (("Content-Type", "text/event-stream; charset=utf-8"),)
JSON: Headers = (("content-type", "application/json"),)


def sse(*events: object, end: str = "\n") -> bytes:
    return "".join(f"event: x{end}data: {json.dumps(event)}{end}{end}" for event in events).encode()


def read(api: Api, headers: Headers, pieces: Iterable[bytes]) -> Reading:
    meter = Meter(api, headers)
    for piece in pieces:
        meter.feed(piece)
    return meter.end()


CHAT = {
    "model": "gpt-x-1",
    "usage": {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}},
}
CASES: list[tuple[Api, Headers, bytes, Reading]] = [
    ("openai-chat", JSON, json.dumps(CHAT).encode(), Reading("gpt-x-1", 9, 3, 4)),
    (
        "openai-chat",
        EVENTS,
        sse({"model": "m", "usage": None}, {"model": "m", "choices": []}, CHAT | {"model": "m"}) + b"data: [DONE]\n\n",
        Reading("m", 9, 3, 4),
    ),
    ("openai-chat", EVENTS, sse({"model": "m", "choices": []}) + b"data: [DONE]\n\n", Reading("m")),
    (
        "openai-responses",
        EVENTS,
        sse(
            {"type": "response.created", "response": {"model": "o", "usage": None}},
            {"type": "response.output_text.delta", "delta": '"usage":{'},
            {
                "type": "response.completed",
                "response": {
                    "model": "o",
                    "usage": {"input_tokens": 7, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 1}},
                },
            },
            end="\r\n",
        ),
        Reading("o", 7, 2, 1),
    ),
    (
        "anthropic-messages",
        EVENTS,
        sse(
            {
                "type": "message_start",
                "message": {
                    "model": "c",
                    "usage": {
                        "input_tokens": 5,
                        "cache_read_input_tokens": 100,
                        "cache_creation_input_tokens": 20,
                        "output_tokens": 1,
                    },
                },
            },
            {"type": "content_block_delta", "delta": {"text": "hi"}},
            {"type": "message_delta", "usage": {"output_tokens": 42}},
        ),
        Reading("c", 125, 42, 100, 20),
    ),
    (
        "gemini",
        JSON,
        json.dumps(
            [
                {"modelVersion": "g", "usageMetadata": {"promptTokenCount": 8}},
                {
                    "usageMetadata": {
                        "promptTokenCount": 8,
                        "candidatesTokenCount": 2,
                        "thoughtsTokenCount": 30,
                        "cachedContentTokenCount": 6,
                    }
                },
            ]
        ).encode(),
        Reading("g", 8, 32, 6),
    ),
    ("openai-chat", JSON, b'{"model":"m","message":"no","usage":{"prompt_tokens":-1}}', Reading("m")),
    ("openai-chat", JSON, b'{"model":"m","usage":{"prompt_tokens":1,"cost":0.25}}', Reading("m", 1, cost_usd=0.25)),
    ("models", JSON, b'{"data":[]}', Reading()),
]


@pytest.mark.parametrize(("api", "headers", "data", "wanted"), CASES)
@pytest.mark.parametrize("size", [1, 13, 1 << 20])
def test_tokens_are_read_wherever_the_pieces_end(
    api: Api, headers: Headers, data: bytes, wanted: Reading, size: int
) -> None:
    assert read(api, headers, (data[at : at + size] for at in range(0, len(data), size))) == wanted


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_compressed_answers_are_read(coding: str, size: int) -> None:
    api, headers, data, wanted = CASES[4]
    packed = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstandard.ZstdCompressor().compress}[coding](
        data
    )
    headers = (*headers, ("Content-Encoding", coding.upper()))
    assert read(api, headers, (packed[at : at + size] for at in range(0, len(packed), size))) == wanted


@given(st.binary(max_size=200), st.sampled_from([EVENTS, JSON, (*EVENTS, ("content-encoding", "gzip"))]))
@settings(max_examples=60, deadline=None)
def test_no_bytes_make_it_fail(data: bytes, headers: Headers) -> None:
    read("openai-chat", headers, (b"data: {", data, b"\n", data))


def test_an_unknown_coding_is_not_read() -> None:
    assert read("openai-chat", (*JSON, ("content-encoding", "br")), [b'{"model":"m"}']) == Reading()


def test_memory_is_bounded_whatever_comes() -> None:
    bomb = gzip.compress(b'{"model":"' + b"x" * (64 << 20))
    tracemalloc.start()
    assert read("openai-chat", (*JSON, ("content-encoding", "gzip")), [bomb]) == Reading()
    # A line that is too long hides no later one.
    line = [b"data: " + b"y" * LONGEST, b"z" * LONGEST, b"\n\n", sse(CHAT)]
    assert read("openai-chat", EVENTS, line) == Reading("gpt-x-1", 9, 3, 4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * LONGEST
