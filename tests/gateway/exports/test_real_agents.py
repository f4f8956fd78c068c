"""Trajectories of real agents' requests, as they were seen by a gateway."""

from __future__ import annotations

import pytest

from bakeoff.gateway.exports.trajectory import trajectory
from bakeoff.gateway.shapes.all import parse_request
from bakeoff.gateway.shapes.base import Ask, Message
from bakeoff.records.atif import Trajectory
from recorded import FACTS, Recording
from recorded_traffic import as_bytes, real


def answered(asks: list[Ask], number: int) -> Message:
    """What a request was answered, as a later one of the same thread repeats it; a word of our own for the last of a thread."""
    ask = asks[number]
    count = len(ask.messages)
    asked = [message.text for message in ask.messages if message.role == "user"][:1]
    for later in asks[number + 1 :]:
        same = [message.text for message in later.messages if message.role == "user"][:1] == asked
        if same and len(later.messages) > count and later.messages[count].role == "assistant":
            return later.messages[count]
    return Message("assistant", text="The end.")


def told(agent: str, run: int = 0) -> Trajectory:
    requests = [each for each in real(agent)["runs"][run]["requests"] if each["method"] == "POST"]
    asks = [parse_request(each["api"], each["path"], as_bytes(each["body"])) for each in requests]
    recording = Recording()
    for number, ask in enumerate(asks):
        answer = answered(asks, number)
        recording.ask(list(ask.messages), answer.text, *answer.calls, tools=ask.tools)
    return trajectory(FACTS, recording.pairs)


def exchanges(of: Trajectory) -> list[int]:
    return [step.extra["exchange"] for step in of.steps if step.extra and "exchange" in step.extra]


@pytest.mark.parametrize("agent", ["codex", "mini-swe-agent"])
@pytest.mark.parametrize("run", [0, 1])
def test_an_agent_with_one_conversation_has_one_trajectory(agent: str, run: int) -> None:
    whole = told(agent, run)
    assert whole.subagent_trajectories is None
    acted = [step for step in whole.steps if step.source == "agent"]
    assert len(exchanges(whole)) == len(acted)
    for step in acted[:-1]:
        assert step.tool_calls
        assert step.observation is not None
        assert len(step.observation.results) == len(step.tool_calls)
    assert [step for step in whole.steps if step.is_copied_context] == []
    assert acted[-1].message == "The end."


@pytest.mark.parametrize("run", [0, 1])
def test_sub_agents_that_ran_at_once_have_trajectories_of_their_own_that_their_calls_point_at(run: int) -> None:
    whole = told("claude-code", run)
    embedded = {each.trajectory_id: each for each in whole.subagent_trajectories or ()}
    assert len(embedded) == 2
    assert sorted(exchanges(whole) + [seq for each in embedded.values() for seq in exchanges(each)]) == list(
        range(1, 9)
    )
    (step,) = (each for each in whole.steps if any(call.function_name == "Agent" for call in each.tool_calls or ()))
    assert step.tool_calls is not None
    assert step.observation is not None
    prompts = {call.tool_call_id: call.arguments["prompt"] for call in step.tool_calls}
    for found in step.observation.results:
        (ref,) = found.subagent_trajectory_ref or ()
        said = [each.message for each in embedded[ref.trajectory_id].steps if each.source == "user"]
        assert any(prompts[found.source_call_id or ""] in text for text in said)
