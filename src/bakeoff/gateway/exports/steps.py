"""The steps of one trajectory, put together answer by answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from bakeoff.gateway.exports.facts import Facts
from bakeoff.gateway.exports.threads import Conversation, Node, arguments_of, id_of, message_print
from bakeoff.gateway.shapes.base import Call, Message
from bakeoff.records.atif import (
    AtifMetrics,
    AtifObservation,
    AtifResult,
    AtifStep,
    AtifSubagentRef,
    AtifToolCall,
)
from bakeoff.records.results import Usage


class Steps:
    """Steps as they grow: what a call came to is told by a later request than its step's."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.steps: list[AtifStep] = []
        self.results: list[list[AtifResult]] = []
        self.calls: dict[str, int] = {}
        self.seen: set[int] = set()

    @property
    def count(self) -> int:
        return len(self.steps)

    def walk(self, part: Conversation, started: Mapping[int, Sequence[tuple[str, AtifSubagentRef]]]) -> None:
        """Add a conversation. ``started`` has, by exchange, what the calls of its answer began."""
        earlier = frozenset(self.seen)
        for node in part.nodes:
            for message in (*node.results, *node.before):
                print_ = message_print(message)
                self._message(message, node.exchange.started_at, node is part.first and print_ in earlier)
                self.seen.add(print_)
            self._answer(node)
            for call_id, ref in started.get(node.seq, ()):
                self._begun(call_id, ref)

    def made(self) -> Iterator[AtifStep]:
        for step, results in zip(self.steps, self.results, strict=True):
            yield msgspec.structs.replace(step, observation=AtifObservation(tuple(results))) if results else step

    def _message(self, message: Message, at: str, copied: bool) -> None:
        match message.role:
            case "tool":
                self._result(message, at, copied)
            case "assistant":
                # What no recorded answer said stands there because the agent put it there.
                self._step(
                    source="agent",
                    timestamp=at,
                    message=message.text,
                    tool_calls=self._tool_calls(message.calls),
                    is_copied_context=True,
                )
            case source:
                self._step(source=source, timestamp=at, message=message.text, is_copied_context=copied or None)

    def _result(self, message: Message, at: str, copied: bool) -> None:
        step = self.calls.get(message.call_id or "")
        if step is None:
            self._step(
                source="user",
                timestamp=at,
                message=message.text,
                is_copied_context=copied or None,
                extra={"result_of": message.call_id},
            )
            return
        results = self.results[step]
        named = [call for call in self.steps[step].tool_calls or () if call.tool_call_id == message.call_id]
        there = [index for index, result in enumerate(results) if result.source_call_id == message.call_id]
        for index in there:
            if results[index].content is None:
                results[index] = msgspec.structs.replace(results[index], content=message.text)
                return
        if len(there) >= len(named):
            return
        results.append(AtifResult(source_call_id=message.call_id, content=message.text))

    def _answer(self, node: Node) -> None:
        turn, exchange = node.turn, node.exchange
        model = turn.model or exchange.model_returned or exchange.model_requested
        extra: dict[str, Any] = {"exchange": exchange.seq, "via": exchange.via}
        if exchange.end != "complete":
            extra["end"] = exchange.end
        if turn.stop in ("length", "refusal"):
            extra["stop"] = turn.stop
        self._step(
            source="agent",
            timestamp=node.ended_at,
            model_name=model if model != self.facts.model else None,
            message=turn.text,
            reasoning_content=turn.reasoning or None,
            tool_calls=self._tool_calls(turn.calls),
            metrics=_metrics(node.usage),
            llm_call_count=1,
            extra=extra,
        )

    def _begun(self, call_id: str, ref: AtifSubagentRef) -> None:
        step = self.calls[call_id]
        for index, result in enumerate(self.results[step]):
            if result.source_call_id == call_id:
                refs = (*(result.subagent_trajectory_ref or ()), ref)
                self.results[step][index] = msgspec.structs.replace(result, subagent_trajectory_ref=refs)
                return
        self.results[step].append(AtifResult(source_call_id=call_id, subagent_trajectory_ref=(ref,)))

    def _tool_calls(self, calls: Sequence[Call]) -> tuple[AtifToolCall, ...] | None:
        made: list[AtifToolCall] = []
        for call in calls:
            self.calls[id_of(call)] = len(self.steps)
            arguments = arguments_of(call)
            if arguments is None:
                made.append(AtifToolCall(id_of(call), call.name, {"input": call.arguments}, {"arguments": "text"}))
            else:
                made.append(AtifToolCall(id_of(call), call.name, arguments))
        return tuple(made) or None

    def _step(self, **fields: Any) -> None:
        self.steps.append(AtifStep(step_id=len(self.steps) + 1, **fields))
        self.results.append([])


def _metrics(usage: Usage) -> AtifMetrics | None:
    made = AtifMetrics(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        cost_usd=usage.cost_usd,
    )
    return made if made != AtifMetrics() else None
