"""What an export says of a trial beside its traffic, and the traffic in the form in which exports read it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from bakeoff.gateway.shapes.base import Ask, Turn
from bakeoff.records.exchanges import Api, Exchange, Provenance
from bakeoff.records.results import TrialResult
from bakeoff.records.times import stamp

CONVERSING: tuple[Api, ...] = ("openai-chat", "openai-responses", "anthropic-messages", "gemini")
"""The APIs whose requests are turns of a conversation; others are counted and no more."""

Pairs = Iterable[tuple[Exchange, Ask, Turn | None]]
"""Requests of a trial in their order, with what each asked. Turn is None where no answer came that can be read."""


class Facts(Struct, frozen=True, kw_only=True):
    """A trial in the words of its record. Times are empty where they are not known."""

    run_id: str
    dataset: str = ""
    task: str
    agent: str
    agent_version: str = ""
    model: str | None = None
    provider: str = ""
    started_at: str = ""
    finished_at: str = ""
    outcome: str = ""
    detail: str = ""
    passed: bool | None = None
    reward: float | None = None
    rewards: dict[str, float] = {}


def of_result(result: TrialResult, provenance: Provenance | None = None) -> Facts:
    """The facts of a finished trial; its fixture's provenance adds the provider."""
    return Facts(
        run_id=result.run_id,
        dataset=result.dataset,
        task=result.ref,
        agent=result.config.agent,
        agent_version=result.config.agent_version,
        model=result.config.model,
        provider=provenance.provider if provenance else "",
        started_at=result.started_at,
        finished_at=result.finished_at,
        outcome=str(result.outcome),
        detail=result.detail,
        passed=result.passed,
        reward=result.reward,
        rewards=result.rewards,
    )


def of_fixture(provenance: Provenance) -> Facts:
    """The facts of a fixture that stands alone. It has no ``run_id``: the digest of its exchanges stands for it."""
    return Facts(
        run_id=provenance.sha256[:32],
        dataset=provenance.dataset,
        task=f"{provenance.task}@{provenance.case}" if provenance.case else provenance.task,
        agent=provenance.agent.name,
        agent_version=provenance.agent.version,
        model=provenance.model,
        provider=provenance.provider,
        outcome=provenance.outcome,
        reward=provenance.reward,
    )


def ended_at(exchange: Exchange) -> str:
    """When the last of the answer came; the request's own time where that is not known."""
    if not exchange.chunks:
        return exchange.started_at
    began = moment(exchange.started_at)
    return stamp(began + timedelta(microseconds=exchange.chunks[-1][0])) if began else exchange.started_at


def moment(text: str) -> datetime | None:
    """A time of a record; None where there is none."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
