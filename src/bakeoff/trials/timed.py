"""An agent's run under its clock, which stands still while the harness lets its model calls wait."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from bakeoff.agents.base import AgentClaim
from bakeoff.errors import ModelError
from bakeoff.records.outcomes import Outcome

if TYPE_CHECKING:
    from bakeoff.gateway.session import Stop

MOST_WAITED = 3600.0
"""Seconds of waiting that are given back, or as many as an agent has, if that is more: an agent can make its requests wait, and work on."""


class AgentEnd(msgspec.Struct, frozen=True):
    """How the agent ended; ``outcome`` is None where it ended by itself and well."""

    outcome: Outcome | None = None
    detail: str = ""
    claim: AgentClaim = AgentClaim()


class Watched(Protocol):
    """What a trial's model traffic says of its agent's run."""

    @property
    def stopped(self) -> asyncio.Future[Stop]:
        """Done where no further answer will come."""
        ...

    @property
    def waited(self) -> float:
        """Seconds for which requests have waited for limits of the harness, with those that wait now."""
        ...

    @property
    def fault(self) -> str:
        """What the provider failed at, where no success came after it."""
        ...


class NotJudged(Exception):
    """The trial is over, and nothing that it left says anything about the agent."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(stop.detail)
        self.stop = stop


async def run_timed(run: Coroutine[Any, Any, AgentClaim], seconds: float | None, traffic: Watched | None) -> AgentEnd:
    """Let an agent run for at most ``seconds`` of its own time (None: for ever).

    Raises NotJudged where a replay went another way than its recording, and ModelError where the provider's failure was the last word.
    """
    clock = asyncio.get_running_loop().time
    begun = clock()
    running = asyncio.ensure_future(run)
    ends: set[asyncio.Future[Any]] = {running} if traffic is None else {running, traffic.stopped}
    try:
        while True:
            left = None
            if seconds is not None:
                left = begun + seconds + (min(traffic.waited, max(seconds, MOST_WAITED)) if traffic else 0.0) - clock()
                if left <= 0:
                    break
            done, _ = await asyncio.wait(ends, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if done:
                break
    finally:
        finished = running.done()
        if not finished:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    if traffic is not None and traffic.stopped.done():
        stop = traffic.stopped.result()
        if stop.outcome is not Outcome.BUDGET_EXCEEDED:
            raise NotJudged(stop)
        return AgentEnd(outcome=stop.outcome, detail=stop.detail)
    if traffic is not None and traffic.fault:
        raise ModelError(traffic.fault)
    if not finished:
        return AgentEnd(outcome=Outcome.AGENT_TIMEOUT, detail=f"the agent did not end within {seconds:g} s")
    claim = running.result()
    if claim.error:
        return AgentEnd(outcome=Outcome.AGENT_ERROR, detail=claim.error, claim=claim)
    return AgentEnd(claim=claim)
