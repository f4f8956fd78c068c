"""The Agent Trajectory Interchange Format, version 1.8: what an agent did, step by step, as other harnesses read it.

The names are the format's own. What has no value is left out, and there are no other fields: readers of the format refuse them.
Texts are whole; images and sound in messages are not carried over.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

ATIF_VERSION: Literal["ATIF-v1.8"] = "ATIF-v1.8"


class AtifToolCall(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A tool call. Where a model gave no JSON object, ``arguments`` has its text as ``input``, and ``extra`` says so."""

    tool_call_id: str
    function_name: str
    arguments: dict[str, Any]
    extra: dict[str, Any] | None = None


class AtifSubagentRef(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Points at one of the root's ``subagent_trajectories`` by its ``trajectory_id``."""

    trajectory_id: str
    session_id: str | None = None


class AtifResult(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A tool's result. ``source_call_id`` is always the id of one of the same step's tool calls."""

    source_call_id: str | None = None
    content: str | None = None
    subagent_trajectory_ref: tuple[AtifSubagentRef, ...] | None = None
    extra: dict[str, Any] | None = None


class AtifObservation(Struct, frozen=True, forbid_unknown_fields=True):
    results: tuple[AtifResult, ...]


class AtifMetrics(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a step cost. ``prompt_tokens`` include the cached ones."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: float | None = None
    extra: dict[str, Any] | None = None


class AtifStep(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """A step. ``model_name``, ``reasoning_content``, ``tool_calls`` and ``metrics`` belong to steps of the agent alone.

    ``is_copied_context`` marks what an agent sent again when it began a conversation anew. ``llm_call_count`` is above 1 where a
    request was sent again and the first answer dropped; the metrics are then of all of them.
    """

    step_id: int
    timestamp: str | None = None
    source: Literal["system", "user", "agent"]
    model_name: str | None = None
    reasoning_effort: str | None = None
    message: str
    reasoning_content: str | None = None
    tool_calls: tuple[AtifToolCall, ...] | None = None
    observation: AtifObservation | None = None
    metrics: AtifMetrics | None = None
    is_copied_context: bool | None = None
    llm_call_count: int | None = None
    extra: dict[str, Any] | None = None


class AtifAgent(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    name: str
    version: str
    model_name: str | None = None
    tool_definitions: tuple[dict[str, Any], ...] | None = None
    extra: dict[str, Any] | None = None


class AtifFinalMetrics(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Sums over the steps of a trajectory; the root's cost covers its sub-agents too."""

    total_prompt_tokens: int | None = None
    total_completion_tokens: int | None = None
    total_cached_tokens: int | None = None
    total_cost_usd: float | None = None
    total_steps: int | None = None
    extra: dict[str, Any] | None = None


class Trajectory(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """A trial's main conversation as steps, its other conversations as ``subagent_trajectories``.

    ``session_id`` is the trial's ``run_id``; ``extra`` has the task and how the trial ended.
    """

    schema_version: Literal["ATIF-v1.8"]
    session_id: str | None = None
    trajectory_id: str | None = None
    agent: AtifAgent
    steps: tuple[AtifStep, ...]
    notes: str | None = None
    final_metrics: AtifFinalMetrics | None = None
    continued_trajectory_ref: str | None = None
    extra: dict[str, Any] | None = None
    subagent_trajectories: tuple[Trajectory, ...] | None = None
