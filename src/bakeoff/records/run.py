"""``run.json``, ``score.json`` and ``trace.jsonl`` of one trial, readable by consumers of the older local-runner format."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from bakeoff.records.outcomes import Flag, Outcome
from bakeoff.records.results import SCHEMA_VERSION, Digests, Limits, Usage


class RunPaths(Struct, frozen=True):
    """Relative to the trial's folder."""

    task_packet: str = "task_packet"
    artifacts: str = "artifacts"
    score: str = "score.json"
    trace: str = "trace.jsonl"


class RunCommand(Struct, frozen=True):
    """``returncode`` is negative for the number of the signal that ended the agent.

    Snippets are the first bytes of each stream, decoded with replacement.
    """

    returncode: int | None = None
    agent_cmd_redacted: str = ""
    stdout_snippet: str = ""
    stderr_snippet: str = ""


class RunRecord(Struct, frozen=True, kw_only=True):
    schema_version: str = SCHEMA_VERSION
    run_id: str
    task_id: str
    case_id: str | None = None
    task_version: str = ""
    task_name: str = ""
    agent_config_id: str = ""
    agent_config_hash: str = ""
    agent_cmd_hash: str = ""
    started_at: str = ""
    completed_at: str = ""
    status: str
    outcome: Outcome
    detail: str = ""
    success: bool | None = None
    score: float | None = None
    reward: float | None = None
    timeout_seconds: float | None = None
    paths: RunPaths = RunPaths()
    command: RunCommand = RunCommand()
    model_name: str | None = None
    seed: int | None = None
    cost_usd: float | None = None
    phases: dict[str, float] = {}
    usage: Usage = Usage()
    limits: Limits = Limits()
    digests: Digests = Digests()
    sandbox: dict[str, str] = {}
    flags: tuple[Flag, ...] = ()
    diagnostics: str = ""


class Component(Struct, frozen=True):
    """One check's points. ``detail`` never says what would have been right."""

    passed: bool
    points: float
    max_points: float
    detail: str = ""


class RunValidity(Struct, frozen=True):
    valid: bool
    category: str = ""
    reason: str = ""
    environment_ref: str = ""
    diagnostic_code: str = ""


class ScoreMetadata(Struct, frozen=True):
    latency_seconds: float | None = None
    cost_usd: float | None = None
    tool_calls: int | None = None
    model_calls: int | None = None
    notes: str = ""


class ScoreRecord(Struct, frozen=True, kw_only=True):
    """``score`` is None where there is no reward, or one outside 0 to 1. ``artifact_hashes`` maps paths under ``artifacts/`` to sha256."""

    schema_version: str = SCHEMA_VERSION
    run_id: str
    task_id: str
    case_id: str | None = None
    task_version: str = ""
    scorer_version: str = ""
    agent_config_id: str = ""
    agent_config_hash: str = ""
    success: bool | None = None
    score: float | None = None
    reward: float | None = None
    rewards: dict[str, float] = {}
    pass_threshold: float = 1.0
    components: dict[str, Component] = {}
    policy_violations: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    artifact_hashes: dict[str, str] = {}
    metadata: ScoreMetadata = ScoreMetadata()
    run_validity: RunValidity | None = None


TraceKind = Literal[
    "run_started",
    "task_packet_created",
    "phase",
    "agent_command_started",
    "agent_command_completed",
    "agent_command_timeout",
    "model_call",
    "model_result",
    "tool_call",
    "tool_result",
    "artifact_write",
    "run_invalidated",
    "scorer_started",
    "scorer_completed",
    "run_completed",
    "teardown",
    "error",
]


class TraceEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of ``trace.jsonl``, written by the harness alone."""

    ts: str
    run_id: str
    event_type: TraceKind
    actor: Literal["runner", "agent", "scorer", "gateway"]
    metadata: dict[str, str | int | float | bool | None] = {}
    input_hash: str | None = None
    output_hash: str | None = None


class ManifestEntry(Struct, frozen=True):
    path: str
    sha256: str
    size: int


class PacketManifest(Struct, frozen=True, kw_only=True):
    """``manifest.json`` of a packet: what is in it, how many files were withheld, and the rule that decided."""

    schema_version: str = SCHEMA_VERSION
    task_id: str
    case_id: str | None = None
    included: tuple[ManifestEntry, ...]
    withheld: int
    rule: str


class PacketTask(Struct, frozen=True, kw_only=True):
    """``task.json`` of a packet: public fields only."""

    schema_version: str = SCHEMA_VERSION
    task_id: str
    case_id: str | None = None
    task_name: str
    task_version: str = ""
    description: str = ""
    category: str = ""
    difficulty: str = ""
    step: str = ""
    workdir: str = ""
    agent_timeout_sec: float | None = None


class ChangeRecord(Struct, frozen=True):
    path: str
    kind: str
    type: str
    size: int
    mode: int
    uid: int = 0
    gid: int = 0


class Changes(Struct, frozen=True, kw_only=True):
    """``changes.json``: what the agent's end state differs in from the task's root. ``complete`` is False where the list was cut."""

    schema_version: str = SCHEMA_VERSION
    complete: bool
    changes: tuple[ChangeRecord, ...]
