"""A trial's exchanges as an ATIF trajectory: the main conversation as its steps, the others beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from bakeoff.errors import InputError
from bakeoff.gateway.exports.facts import Facts, Pairs
from bakeoff.gateway.exports.steps import Steps
from bakeoff.gateway.exports.threads import Conversation, Threads, arguments_of, id_of
from bakeoff.gateway.shapes.base import Call, Tool
from bakeoff.records.atif import ATIF_VERSION, AtifAgent, AtifFinalMetrics, AtifSubagentRef, Trajectory
from bakeoff.records.results import Usage

_TELLING = 12
"""A text shorter than this in a call's arguments does not show that the call began another conversation."""


class Nothing(InputError):
    """A trial has no answer of a model in its record."""


def trajectory(facts: Facts, pairs: Pairs) -> Trajectory:
    """What an agent did, from its exchanges alone. Takes them one at a time and holds what was said, each message once.

    Raises Nothing where no exchange has an answer: a trajectory has at least one step.
    """
    threads = Threads()
    unanswered = 0
    for exchange, ask, turn in pairs:
        if turn is None:
            unanswered += 1
        else:
            threads.add(exchange, ask, turn)
    if not threads.nodes:
        raise Nothing(
            "no model answered, so there is no trajectory", where=facts.run_id, wanted="a trial with recorded traffic"
        )
    main, others = split(threads.conversations())
    names = {id(each): f"{facts.run_id}.{number}" for number, each in enumerate(others, 1)}
    subagents = tuple(_one(facts, [each], names, others, main) for each in others)
    whole = _one(facts, main, names, others, main, usages=[node.usage for node in threads.nodes])
    notes = (
        f"{unanswered} of {unanswered + len(threads.nodes)} requests had no answer that can be read."
        if unanswered
        else None
    )
    return msgspec.structs.replace(whole, subagent_trajectories=subagents or None, notes=notes)


def split(conversations: Sequence[Conversation]) -> tuple[list[Conversation], list[Conversation]]:
    """The main conversation and the others. The main one lasts longest in the order of requests: what it starts ends before it does.

    An agent that begins anew (after it summed up what was said, or with another step of a task) does so with the same
    system text and tools when the conversation before has ended: those are parts of the main one.
    """

    def like(each: Conversation) -> tuple[int, tuple[str, ...]]:
        return each.first.tree.system, each.first.tree.tool_names

    whole = [each for each in conversations if each.fork is None]
    longest = max(
        whole,
        key=lambda each: (each.last.seq - each.first.seq, len(each.first.tools), len(each.nodes), -each.first.seq),
    )
    main = [longest]
    for each in whole:
        if like(each) == like(longest) and each.first.seq > main[-1].last.seq:
            main.append(each)
    for each in reversed(whole):
        if like(each) == like(longest) and each.last.seq < main[0].first.seq:
            main.insert(0, each)
    return main, [each for each in conversations if all(each is not part for part in main)]


def _one(
    facts: Facts,
    parts: Sequence[Conversation],
    names: dict[int, str],
    others: Sequence[Conversation],
    main: Sequence[Conversation],
    usages: Iterable[Usage] = (),
) -> Trajectory:
    own = parts is main
    steps = Steps(facts)
    for part in parts:
        steps.walk(part, _started_by(part, others, names))
    tools = next((node.tools for part in parts for node in part.nodes if node.tools), ())
    fork = parts[0].fork
    total = Usage() if not own else _sum(usages)
    return Trajectory(
        schema_version=ATIF_VERSION,
        session_id=facts.run_id,
        trajectory_id=facts.run_id if own else names[id(parts[0])],
        agent=AtifAgent(
            name=facts.agent,
            version=facts.agent_version,
            model_name=facts.model,
            tool_definitions=tuple(_definition(tool) for tool in tools) or None,
        ),
        steps=tuple(steps.made()),
        final_metrics=_final(_sum(node.usage for part in parts for node in part.nodes), steps.count, total),
        extra=_about(facts) if own else ({"forked_from_exchange": fork.seq} if fork else None),
    )


def _started_by(
    part: Conversation, others: Sequence[Conversation], names: dict[int, str]
) -> dict[int, list[tuple[str, AtifSubagentRef]]]:
    """By exchange of ``part``: which calls of its answer began which other conversations, told from the text that they passed on."""
    found: dict[int, list[tuple[str, AtifSubagentRef]]] = {}
    for other in others:
        if other is part or other.fork is not None:
            continue
        asked = "\n".join(message.text for message in other.first.before if message.role == "user")
        for node in reversed(part.nodes):
            if node.seq > other.first.seq:
                continue
            length, call_id = max(((_passed_on(call, asked), id_of(call)) for call in node.turn.calls), default=(0, ""))
            if length >= _TELLING:
                found.setdefault(node.seq, []).append((call_id, AtifSubagentRef(names[id(other)])))
                break
    return found


def _passed_on(call: Call, asked: str) -> int:
    """The length of the longest text among a call's arguments that a conversation begins with."""
    values = (arguments_of(call) or {}).values()
    return max(
        (len(value) for value in values if isinstance(value, str) and value.strip() and value.strip() in asked),
        default=0,
    )


def _definition(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
    return (
        {"type": "function", "function": function}
        if tool.kind == "function"
        else {"type": tool.kind, "function": function}
    )


def _final(own: Usage, steps: int, whole: Usage) -> AtifFinalMetrics:
    """Tokens of this trajectory's own steps; of the whole trial the cost, and its tokens beside."""
    extra = {
        "all_requests": whole.requests,
        "all_prompt_tokens": whole.input_tokens,
        "all_completion_tokens": whole.output_tokens,
    }
    known = {name: number for name, number in extra.items() if number is not None}
    return AtifFinalMetrics(
        total_prompt_tokens=own.input_tokens,
        total_completion_tokens=own.output_tokens,
        total_cached_tokens=own.cached_tokens,
        total_cost_usd=whole.cost_usd if known else own.cost_usd,
        total_steps=steps,
        extra=known or None,
    )


def _sum(usages: Iterable[Usage]) -> Usage:
    """All together; what no exchange tells stays unknown. ``requests`` counts them."""
    every = list(usages)

    def added(values: Iterable[float | None]) -> Any:
        known = [value for value in values if value is not None]
        return sum(known) if known else None

    return Usage(
        requests=len(every),
        input_tokens=added(each.input_tokens for each in every),
        output_tokens=added(each.output_tokens for each in every),
        cached_tokens=added(each.cached_tokens for each in every),
        cost_usd=added(each.cost_usd for each in every),
    )


def _about(facts: Facts) -> dict[str, Any]:
    about = {
        "task": facts.task or None,
        "dataset": facts.dataset or None,
        "outcome": facts.outcome or None,
        "reward": facts.reward,
        "rewards": facts.rewards or None,
    }
    return {name: each for name, each in about.items() if each is not None}
