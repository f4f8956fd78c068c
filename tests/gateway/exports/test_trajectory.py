"""Trajectories tell what an agent did, whatever of it each request repeated."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.gateway.exports.trajectory import Nothing, trajectory
from bakeoff.gateway.shapes.base import Call, Message
from bakeoff.records.atif import AtifStep, Trajectory
from recorded import FACTS, Recording, result, shell, system, user

SCHEMA = jsonschema.Draft202012Validator(
    json.loads((Path(__file__).parents[3] / "docs/reference/schemas/trajectory.json").read_text())
)


def made(recording: Recording) -> Trajectory:
    """The recording's trajectory, checked against the published schema and the rules that a schema cannot say."""
    whole = trajectory(FACTS, recording.pairs)
    plain = json.loads(msgspec.json.encode(whole))
    SCHEMA.validate(plain)
    assert msgspec.convert(plain, Trajectory) == whole
    embedded = whole.subagent_trajectories or ()
    for each in (whole, *embedded):
        assert [step.step_id for step in each.steps] == list(range(1, len(each.steps) + 1))
        for step in each.steps:
            calls = {call.tool_call_id for call in step.tool_calls or ()}
            results = step.observation.results if step.observation else ()
            assert all(found.source_call_id in calls for found in results)
            if step.source != "agent":
                assert not (step.tool_calls or step.metrics or step.model_name or step.reasoning_content)
    names = [each.trajectory_id for each in embedded]
    assert len(set(names)) == len(names)
    assert None not in names
    return whole


def said(steps: tuple[AtifStep, ...]) -> list[tuple[str, str]]:
    return [(step.source, step.message) for step in steps]


def observed(step: AtifStep) -> list[str | None]:
    return [found.content for found in step.observation.results] if step.observation else []


def test_each_message_and_each_answer_is_one_step_however_often_it_was_sent() -> None:
    recording = Recording()
    talk = recording.ask([system("Be brief."), user("Add up.")], "Looking.", shell("a", "ls"), reasoning="Hm.")
    talk = recording.ask([*talk, result("a", "sums.txt")], "", shell("b", "cat sums.txt"))
    recording.ask([*talk, result("b", "1 2"), user("Hurry.")], "It is 3.")
    whole = made(recording)
    assert said(whole.steps) == [
        ("system", "Be brief."),
        ("user", "Add up."),
        ("agent", "Looking."),
        ("agent", ""),
        ("user", "Hurry."),
        ("agent", "It is 3."),
    ]
    first = whole.steps[2]
    assert observed(first) == ["sums.txt"]
    assert observed(whole.steps[3]) == ["1 2"]
    assert first.reasoning_content == "Hm."
    assert first.tool_calls is not None
    assert (first.tool_calls[0].function_name, first.tool_calls[0].arguments) == ("shell", {"cmd": "ls"})
    assert first.llm_call_count == 1
    assert first.timestamp == "2026-01-01T00:00:01.500000Z"
    assert whole.subagent_trajectories is None
    assert whole.schema_version == "ATIF-v1.8"
    assert whole.session_id == "run-1"


def test_metrics_of_steps_sum_to_those_of_the_trajectory() -> None:
    recording = Recording()
    talk = recording.ask([user("Go.")], "", shell("a", "ls"))
    recording.ask([*talk, result("a", "")], "Done.")
    whole = made(recording)
    assert [step.metrics.prompt_tokens for step in whole.steps if step.metrics] == [100, 200]
    total = whole.final_metrics
    assert total is not None
    assert (total.total_prompt_tokens, total.total_completion_tokens, total.total_cached_tokens) == (300, 20, 10)
    assert (total.total_cost_usd, total.total_steps) == (1.0, 3)


def test_results_of_parallel_calls_go_to_their_calls_in_any_order() -> None:
    recording = Recording()
    talk = recording.ask([user("Go.")], "", shell("a", "one"), shell("b", "two"))
    recording.ask([*talk, result("b", "second"), result("a", "first")], "Done.")
    step = made(recording).steps[1]
    assert step.observation is not None
    assert {found.source_call_id: found.content for found in step.observation.results} == {"a": "first", "b": "second"}


def test_calls_with_the_same_id_in_every_answer_keep_their_own_results() -> None:
    recording = Recording()
    talk = recording.ask([user("Go.")], "", shell("call", "ls"))
    talk = recording.ask([*talk, result("call", "first")], "", shell("call", "ls"))
    recording.ask([*talk, result("call", "second")], "Done.")
    steps = made(recording).steps
    assert [observed(step) for step in steps[1:3]] == [["first"], ["second"]]


def test_calls_that_have_names_for_ids_each_have_their_result() -> None:
    recording = Recording()
    talk = recording.ask([user("Go.")], "", shell("", "one"), shell("", "two"))
    talk = recording.ask([*talk, result("shell", "1"), result("shell", "2")], "", shell("", "three"))
    recording.ask([*talk, result("shell", "3")], "Done.")
    steps = made(recording).steps
    assert [observed(step) for step in steps[1:3]] == [["1", "2"], ["3"]]


def test_a_side_call_stands_beside_the_main_conversation() -> None:
    recording = Recording()
    recording.ask([system("Make a title."), user("Add up.")], "Sums", tools=())
    talk = recording.ask([system("Be brief."), user("Add up.")], "", shell("a", "ls"))
    recording.ask([*talk, result("a", "x")], "Done.")
    whole = made(recording)
    assert [step.message for step in whole.steps if step.source == "agent"] == ["", "Done."]
    assert whole.subagent_trajectories is not None
    assert said(whole.subagent_trajectories[0].steps)[-1] == ("agent", "Sums")
    assert whole.final_metrics is not None
    assert whole.final_metrics.total_cost_usd == 1.5
    assert whole.final_metrics.extra == {
        "all_requests": 3,
        "all_prompt_tokens": 600,
        "all_completion_tokens": 30,
    }


def test_sub_agents_that_ran_at_once_are_linked_to_the_calls_that_began_them() -> None:
    recording = Recording()
    one = Call("t1", "task", '{"prompt": "Count the lines of a.txt"}')
    two = Call("t2", "task", '{"prompt": "Count the lines of b.txt"}')
    talk = recording.ask([system("Lead."), user("Count both.")], "", one, two)
    first = recording.ask([system("Help."), user("Count the lines of a.txt")], "", shell("a", "wc"))
    second = recording.ask([system("Help."), user("Count the lines of b.txt")], "", shell("a", "wc"))
    recording.ask([*second, result("a", "2")], "2 lines")
    recording.ask([*first, result("a", "1")], "1 line")
    recording.ask([*talk, result("t2", "2 lines"), result("t1", "1 line")], "3 lines")
    whole = made(recording)
    assert whole.subagent_trajectories is not None
    ends = {each.trajectory_id: each.steps[-1].message for each in whole.subagent_trajectories}
    assert len(ends) == 2
    step = whole.steps[2]
    assert step.observation is not None
    linked = {
        found.source_call_id: [ends[ref.trajectory_id] for ref in found.subagent_trajectory_ref or ()]
        for found in step.observation.results
    }
    assert linked == {"t1": ["1 line"], "t2": ["2 lines"]}
    assert {found.source_call_id: found.content for found in step.observation.results} == {
        "t1": "1 line",
        "t2": "2 lines",
    }


def test_what_is_sent_again_after_a_summary_is_copied_context() -> None:
    recording = Recording()
    talk = recording.ask([system("Be brief."), user("Add up.")], "", shell("a", "ls"))
    recording.ask([*talk, result("a", "x"), user("Sum up what was said.")], "Files were listed.")
    talk = recording.ask(
        [system("Be brief."), user("Add up."), user("So far: files were listed.")], "", shell("b", "cat x")
    )
    recording.ask([*talk, result("b", "1 2")], "3")
    whole = made(recording)
    assert whole.subagent_trajectories is None
    assert [(step.message, bool(step.is_copied_context)) for step in whole.steps[5:8]] == [
        ("Be brief.", True),
        ("Add up.", True),
        ("So far: files were listed.", False),
    ]
    assert whole.steps[-1].message == "3"


def test_a_summary_put_in_the_place_of_old_messages_is_a_step() -> None:
    recording = Recording()
    talk = recording.ask([user("Add up.")], "", shell("a", "ls"))
    talk = recording.ask([*talk, result("a", "x")], "", shell("b", "cat x"))
    shorter = [user("So far: files were listed."), talk[-1], result("b", "1 2")]
    recording.ask(shorter, "3")
    whole = made(recording)
    assert ("user", "So far: files were listed.") in said(whole.steps)
    assert whole.steps[-1].message == "3"
    assert whole.subagent_trajectories is None


def test_reminders_that_come_and_go_in_old_messages_are_no_steps() -> None:
    recording = Recording()
    recording.ask([system("Be brief. It is noon."), user("Add up. <hint>Now</hint>")], "", shell("a", "ls"))
    called = Message("assistant", calls=(shell("a", "ls"),))
    recording.ask([system("Be brief. It is one."), user("Add up."), called, result("a", "x")], "Done.")
    whole = made(recording)
    assert [step.source for step in whole.steps] == ["system", "user", "agent", "agent"]


def test_an_answer_that_was_asked_for_again_stands_beside_the_one_that_was_used() -> None:
    recording = Recording()
    recording.ask([user("Add up.")], "half an ans", end="cut")
    talk = recording.ask([user("Add up.")], "", shell("a", "ls"))
    recording.ask([*talk, result("a", "x")], "Done.")
    whole = made(recording)
    assert whole.steps[-1].message == "Done."
    everything = [step for each in (whole, *(whole.subagent_trajectories or ())) for step in each.steps]
    cut = [step for step in everything if step.message == "half an ans"]
    assert [step.extra and step.extra["end"] for step in cut] == ["cut"]


def test_a_fork_is_a_trajectory_of_its_own_and_says_where_it_left() -> None:
    recording = Recording()
    talk = recording.ask([user("Add up.")], "", shell("a", "ls"))
    recording.ask([*talk, result("a", "x"), user("Suggest what to ask next.")], "Ask for more.")
    talk = recording.ask([*talk, result("a", "x")], "", shell("b", "cat x"))
    recording.ask([*talk, result("b", "1 2")], "3")
    whole = made(recording)
    assert [step.message for step in whole.steps if step.source == "agent"] == ["", "", "3"]
    assert observed(whole.steps[1]) == ["x"]
    assert whole.subagent_trajectories is not None
    (side,) = whole.subagent_trajectories
    assert side.extra == {"forked_from_exchange": 1}
    assert side.steps[-1].message == "Ask for more."


def test_an_agent_that_changes_the_answers_it_repeats_is_followed_all_the_same() -> None:
    recording = Recording()
    recording.ask([user("Add up.")], "<think>hm</think> Look.")
    recording.ask([user("Add up."), Message("assistant", text="Look."), user("Go on.")], "3")
    whole = made(recording)
    assert said(whole.steps) == [
        ("user", "Add up."),
        ("agent", "<think>hm</think> Look."),
        ("user", "Go on."),
        ("agent", "3"),
    ]


def test_an_agent_that_sends_results_alone_is_followed_by_the_ids_of_calls() -> None:
    recording = Recording()
    recording.ask([user("Add up.")], "", shell("call-1", "ls"))
    recording.ask([result("call-1", "x")], "3")
    whole = made(recording)
    assert whole.subagent_trajectories is None
    assert observed(whole.steps[1]) == ["x"]


def test_arguments_that_are_no_object_are_kept_as_text() -> None:
    recording = Recording()
    recording.ask([user("Go.")], "", Call("a", "patch", "*** Begin"), Call("b", "shell", '{"cmd": "l'))
    calls = made(recording).steps[1].tool_calls
    assert calls is not None
    assert [call.arguments for call in calls] == [{"input": "*** Begin"}, {"input": '{"cmd": "l'}]


def test_requests_without_an_answer_are_counted_in_the_notes() -> None:
    recording = Recording()
    recording.fail([user("Go.")])
    recording.ask([user("Go.")], "Done.")
    assert made(recording).notes == "1 of 2 requests had no answer that can be read."


def test_a_trial_that_no_model_answered_has_no_trajectory() -> None:
    recording = Recording()
    recording.fail([user("Go.")])
    with pytest.raises(Nothing, match="no model answered"):
        trajectory(FACTS, recording.pairs)


TEXTS = st.sampled_from(["", "a", "b", "ls"])
MESSAGES = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    text=TEXTS,
    calls=st.just(()),
    call_id=st.sampled_from(["x", "y"]),
)


@settings(deadline=None)
@given(st.lists(st.tuples(st.lists(MESSAGES, max_size=4), TEXTS, st.booleans()), min_size=1, max_size=8))
def test_any_traffic_makes_a_whole_trajectory_with_every_answer_once(
    turns: list[tuple[list[Message], str, bool]],
) -> None:
    recording = Recording()
    for number, (messages, text, calls) in enumerate(turns):
        recording.ask(messages, text, *([shell(f"x{number % 2}", text)] if calls else []))
    whole = made(recording)
    steps = [step for each in (whole, *(whole.subagent_trajectories or ())) for step in each.steps]
    told = sorted(step.extra["exchange"] for step in steps if step.extra and "exchange" in step.extra)
    assert told == list(range(1, len(turns) + 1))
