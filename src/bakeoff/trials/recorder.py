"""The trace of one trial, written as it goes, and the seconds of its phases."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from bakeoff.records.run import TraceEvent, TraceKind
from bakeoff.records.times import now

Value = str | int | float | bool | None
_ENCODER = msgspec.json.Encoder()


class Recorder:
    """Appends to ``trace.jsonl``; a line is in the file when ``emit`` returns. ``phases`` has seconds by name, repeated phases added up."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self._run_id = run_id
        self._descriptor = os.open(folder / "trace.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self.phases: dict[str, float] = {}

    def emit(
        self,
        kind: TraceKind,
        metadata: Mapping[str, Value] | None = None,
        *,
        actor: Literal["runner", "agent", "scorer", "gateway"] = "runner",
    ) -> None:
        event = TraceEvent(ts=now(), run_id=self._run_id, event_type=kind, actor=actor, metadata=dict(metadata or {}))
        os.write(self._descriptor, _ENCODER.encode(event) + b"\n")

    def emit_agent(self, kind: TraceKind, metadata: Mapping[str, Value]) -> None:
        """What the harness saw of the agent."""
        self.emit(kind, metadata, actor="agent")

    def emit_gateway(self, kind: TraceKind, metadata: Mapping[str, Value]) -> None:
        """What the gateway saw of the traffic."""
        self.emit(kind, metadata, actor="gateway")

    def phase(self, name: str) -> Phase:
        """Time a phase. One event says when it began and how long it took, however it ended."""
        return Phase(self, name)

    def close(self) -> None:
        os.close(self._descriptor)


class Phase:
    """The block of one phase; a class, because a generator costs several times as much."""

    __slots__ = ("_begun", "_name", "_recorder", "_started")

    def __init__(self, recorder: Recorder, name: str) -> None:
        self._recorder = recorder
        self._name = name
        self._started = ""
        self._begun = 0.0

    def __enter__(self) -> None:
        self._started, self._begun = now(), time.monotonic()

    def __exit__(self, *_: object) -> None:
        seconds = round(time.monotonic() - self._begun, 6)
        phases = self._recorder.phases
        phases[self._name] = round(phases.get(self._name, 0.0) + seconds, 6)
        self._recorder.emit("phase", {"name": self._name, "started": self._started, "seconds": seconds})
