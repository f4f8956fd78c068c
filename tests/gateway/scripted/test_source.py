"""The scripted model as the gateway meets it: every API, streams, errors, figures."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from bakeoff.gateway.traffic import Refused
from bakeoff.records.exchanges import Api

from .conftest import Make, ask, chat, said, user

SAMPLES = Path(__file__).parent.parent / "shapes" / "samples"
SCRIPT = """
[[turn]]
text = "first"
[[turn]]
text = "Now the file."
reasoning = "It is missing."
shell = "echo hi > hello.txt"
"""
AGENTS: list[tuple[str, Api, str]] = [
    ("codex", "openai-responses", "exec_command"),
    ("claude-code", "anthropic-messages", "Bash"),
    ("mini-swe-agent", "openai-chat", "bash"),
    ("gemini-cli", "gemini", "run_shell_command"),
    ("qwen-code", "openai-chat", "run_shell_command"),
    ("opencode", "openai-chat", "bash"),
]


@pytest.mark.parametrize(("name", "api", "shell"), AGENTS)
async def test_a_real_agents_request_is_answered_through_its_shell(make: Make, name: str, api: Api, shell: str) -> None:
    body = (SAMPLES / f"{name}.json").read_bytes()
    got = await ask(make(SCRIPT), body, api)
    assert (got.status, got.via) == (200, "scripted")
    assert (got.turn.text, got.turn.reasoning, got.turn.stop) == ("Now the file.", "It is missing.", "tool")
    assert got.turn.calls[0].name == shell
    assert got.command == "echo hi > hello.txt"
    assert got.turn.usage.input_tokens == -(-len(body) // 4)
    assert (got.turn.usage.output_tokens or 0) > 10
    assert got.turn.model == "demo"


@pytest.mark.parametrize(("name", "api", "shell"), AGENTS)
async def test_two_runs_of_a_script_give_equal_bytes(make: Make, name: str, api: Api, shell: str) -> None:
    body = (SAMPLES / f"{name}.json").read_bytes()
    assert await ask(make(SCRIPT), body, api, seq=5) == await ask(make(SCRIPT), body, api, seq=5)


async def test_streams_come_in_chunks_and_keep_their_delay(make: Make) -> None:
    script = make("[[turn]]\ntext = 'slow'\ndelay_sec = 0.01")
    got = await ask(script, chat(user(), stream=True))
    assert len(got.chunks) >= 3
    assert got.turn.text == "slow"


@pytest.mark.parametrize("api", ["openai-chat", "anthropic-messages", "openai-responses", "gemini"])
async def test_an_error_is_played_in_the_apis_form(make: Make, api: Api) -> None:
    script = make("[[turn]]\nstatus = 529\nmessage = 'busy today'")
    body: dict[str, Any] = {"messages": [user()], "contents": [], "input": "hi"}
    got = await ask(script, json.dumps(body).encode(), api)
    assert got.status == 529
    assert json.loads(got.body)["error"]["message"] == "busy today"
    assert b"overloaded_error" in got.body


async def test_compressed_requests_are_read(make: Make) -> None:
    body = gzip.compress(chat(user()))
    assert (await ask(make(SCRIPT), body, headers=(("Content-Encoding", "gzip"),))).turn.text == "first"


async def test_models_counts_and_embeddings_are_answered(make: Make) -> None:
    script = make("name = 'the script'\n" + SCRIPT)
    listed = await ask(script, b"", "models")
    assert [entry["id"] for entry in json.loads(listed.body)["data"]] == ["the script"]
    counted = await ask(script, chat(user(), said("x")), "anthropic-count")
    assert json.loads(counted.body)["input_tokens"] > 10
    assert (await ask(script, b'{"model":"e","input":"x"}', "openai-embeddings")).status == 400
    assert (await ask(script, b"", "other")).status == 404


async def test_a_request_that_cannot_be_read_is_refused_and_the_run_goes_on(make: Make) -> None:
    with pytest.raises(Refused) as caught:
        await ask(make(SCRIPT), b'{"messages": 3}')
    assert (caught.value.status, caught.value.final) == (400, False)
    assert "messages: a number, wanted an array of objects" in caught.value.message
