"""Two runs of real agents at different places and times, as they were seen by a gateway."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import recorded_traffic as traffic
from bakeoff.gateway.replay.asked import Reader
from bakeoff.gateway.replay.declared import NOTHING, Volatile, volatile_for
from bakeoff.gateway.replay.roots import joined
from bakeoff.gateway.replay.source import Replay
from bakeoff.gateway.traffic import Refused
from bakeoff.records.exchanges import Api

AGENTS = ("codex", "claude-code", "mini-swe-agent", "opencode", "gemini-cli", "qwen-code")

PROMPTS: dict[Api, Callable[[str], dict[str, Any]]] = {
    "openai-chat": lambda text: {"messages": [{"role": "user", "content": text}]},
    "anthropic-messages": lambda text: {"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]},
    "openai-responses": lambda text: {"input": [{"role": "user", "content": [{"type": "input_text", "text": text}]}]},
    "gemini": lambda text: {"contents": [{"role": "user", "parts": [{"text": text}]}]},
}


def keys(seen: Any, volatile: Volatile | None = None) -> list[list[bytes]]:
    """Of every request of both runs."""
    data = volatile_for(seen["agent"], seen["version"]) if volatile is None else volatile
    reader = Reader(data, joined(*(run["roots"] for run in seen["runs"])))
    return [
        [
            reader.read(one["api"], one["method"], one["path"], traffic.as_bytes(one["body"])).key
            for one in run["requests"]
        ]
        for run in seen["runs"]
    ]


@pytest.mark.parametrize("agent", AGENTS)
def test_each_request_of_a_second_run_asks_what_the_first_run_asked(agent: str) -> None:
    first, second = keys(traffic.real(agent))
    assert len(first) >= 3
    assert sorted(first) == sorted(second)


@pytest.mark.parametrize("agent", AGENTS)
def test_no_two_requests_of_a_run_are_alike(agent: str) -> None:
    for run in keys(traffic.real(agent)):
        assert len(set(run)) == len(run)


@pytest.mark.parametrize("agent", AGENTS)
def test_without_the_agents_data_no_request_is_found_again(agent: str) -> None:
    first, second = keys(traffic.real(agent), NOTHING)
    assert set(first) & set(second) == set()


@pytest.mark.parametrize("agent", AGENTS)
def test_each_piece_of_the_agents_data_is_needed(agent: str) -> None:
    seen = traffic.real(agent)
    data = volatile_for(agent, seen["version"])
    for field in ("drop", "ids", "pattern"):
        for left_out in getattr(data, field):
            fewer = {name: getattr(data, name) for name in data.__struct_fields__}
            fewer[field] = tuple(one for one in getattr(data, field) if one != left_out)
            first, second = keys(seen, Volatile(**fewer))
            assert sorted(first) != sorted(second), left_out


def test_an_unknown_agent_has_nothing_volatile_and_an_unknown_version_that_of_the_last_one_known() -> None:
    assert volatile_for("mine", "1") == NOTHING
    assert volatile_for("codex", "99.0") == volatile_for("codex", "0.169.0")
    assert not volatile_for("codex", "99.0").covers("99.0")
    assert volatile_for("codex", "0.169.3").covers("0.169.3")


@pytest.mark.parametrize("agent", AGENTS)
async def test_a_run_replays_at_another_place_and_uses_everything(agent: str) -> None:
    seen = traffic.real(agent)
    first, second = seen["runs"]
    recording = traffic.Memory()
    for number, one in enumerate(first["requests"]):
        recording.add(one["body"], f"answer {number}", api=one["api"], path=one["path"])
    replay = Replay.open(
        recording, volatile=volatile_for(agent, seen["version"]), roots=joined(first["roots"], second["roots"])
    )
    answers = [
        await traffic.told(replay, traffic.ask(one["body"], api=one["api"], path=one["path"]))
        for one in second["requests"]
    ]
    assert sorted(answers) == sorted(f"answer {number}".encode() for number in range(len(answers)))
    assert replay.unused() == ()


@pytest.mark.parametrize("agent", AGENTS)
async def test_one_changed_byte_in_a_tool_output_diverges_and_is_shown(agent: str) -> None:
    seen = traffic.real(agent)
    first, second = seen["runs"]
    recording = traffic.Memory()
    for number, one in enumerate(first["requests"]):
        recording.add(one["body"], f"answer {number}", api=one["api"], path=one["path"])
    replay = Replay.open(
        recording, volatile=volatile_for(agent, seen["version"]), roots=joined(first["roots"], second["roots"])
    )
    begun, then = second["requests"][:2]
    await traffic.told(replay, traffic.ask(begun["body"], api=begun["api"], path=begun["path"]))
    changed = json.dumps(then["body"]).replace("two\\n", "twO\\n").replace('"two"', '"twO"')
    changed = changed.replace("made.txt\\\\n", "made.tXt\\\\n")
    with pytest.raises(Refused) as refusal:
        await replay.answer(traffic.ask(changed.encode(), api=then["api"], path=then["path"]))
    assert refusal.value.kind == "replay_diverged"
    removed = [line for line in refusal.value.detail.splitlines() if line.startswith("  -")]
    added = [line for line in refusal.value.detail.splitlines() if line.startswith("  +")]
    assert len(removed) == len(added) == 1, refusal.value.detail
    assert removed[0][3:] != added[0][3:]
    assert removed[0][3:].lower() == added[0][3:].lower()


def test_an_id_in_a_prompt_is_no_volatile_field() -> None:
    """Tasks that differ in an id, a date, a hash or a number in their prompt are different requests, for every agent's data."""
    samples = {
        "4e2f9f0c-58a1-4c52-9f3c-1f0a2b3c4d5e": "4e2f9f0c-58a1-4c52-9f3c-1f0a2b3c4d5f",
        "sha256:9f86d081884c7d65": "sha256:9f86d081884c7d66",
        "2026-11-21": "2026-11-22",
        "Today's date is 2026-11-21.": "Today's date is 2026-11-22.",
        "Chunk ID: 321c26": "Chunk ID: 321c27",
        "agentId: acc3d789c7bca3501": "agentId: acc3d789c7bca3502",
        "OS Version: Linux 6.1": "OS Version: Linux 6.2",
        "Process Group PGID: 16": "Process Group PGID: 17",
        "127.0.0.1:8080": "127.0.0.1:8081",
        "/tmp/a1b2c3": "/tmp/a1b2c4",
        "msg_01": "msg_02",
    }
    for agent in (*AGENTS, "command"):
        reader = Reader(volatile_for(agent, "2.1.0"), joined({"workdir": "/app", "home": "/root", "run_id": "r-1"}))
        for one, other in samples.items():
            for api, wrap in PROMPTS.items():
                first, second = (
                    reader.read(api, "POST", "", traffic.as_bytes(wrap(f"Fix it.\n{text}\nThanks.")))
                    for text in (one, other)
                )
                assert first.key != second.key, (agent, api, one)
