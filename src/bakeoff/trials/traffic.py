"""The model traffic of a job's trials: one gateway for all, and for each trial a session that answers and records."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from bakeoff.agents.base import Endpoint
from bakeoff.gateway.models import ModelRef, parse_model
from bakeoff.gateway.traffic import Source, Stop
from bakeoff.records.job import RunRequest
from bakeoff.records.replays import ReplayRecord
from bakeoff.records.results import Usage
from bakeoff.sandboxes.base import Sandbox
from bakeoff.tasks.model import Task
from bakeoff.trials.spec import TrialSpec

if TYPE_CHECKING:
    from bakeoff.gateway.recording import Recorded, Recording
    from bakeoff.gateway.replay.source import Replay
    from bakeoff.gateway.server import Gateway
    from bakeoff.gateway.session import Session

PORT = 47365
"""Where a sandbox finds the gateway, on its own loopback: always the same, so that recordings do not differ by it."""

PROTOCOLS = ("openai", "anthropic", "gemini")


class TrafficEnd(Struct, frozen=True):
    """What a trial's traffic came to."""

    usage: Usage = Usage()
    model_returned: str | None = None
    recorded: Recorded | None = None
    replay: ReplayRecord | None = None


class TrialTraffic:
    """The traffic of one try of a trial. ``stopped``, ``waited`` and ``fault`` are what ``trials.timed`` watches."""

    def __init__(self, session: Session, gateway: Gateway, model: ModelRef, recording: Recording) -> None:
        self.session = session
        self._gateway = gateway
        self._model = model
        self._recording = recording
        self._endpoint: Endpoint | None = None
        self._served: list[object] = []

    @property
    def stopped(self) -> asyncio.Future[Stop]:
        return self.session.stopped

    @property
    def waited(self) -> float:
        return self.session.waited

    @property
    def fault(self) -> str:
        return self.session.fault
