"""An agent's clock: it ends an agent that takes too long, and stands still while the harness keeps its requests waiting."""

from __future__ import annotations

import asyncio
import time

import pytest

from bakeoff.agents.base import AgentClaim
from bakeoff.errors import ModelError
from bakeoff.gateway.session import Stop
from bakeoff.records.outcomes import Outcome
from bakeoff.trials.timed import NotJudged, run_timed


class Traffic:
    """Traffic whose state a test sets."""

    def __init__(self) -> None:
        self.stopped: asyncio.Future[Stop] = asyncio.get_running_loop().create_future()
        self.waiting_since: float | None = None
        self.before = 0.0
        self.fault = ""

    @property
    def waited(self) -> float:
        return self.before + (time.monotonic() - self.waiting_since if self.waiting_since is not None else 0.0)

    async def wait(self, seconds: float) -> None:
        self.waiting_since = time.monotonic()
        await asyncio.sleep(seconds)
        self.before, self.waiting_since = self.waited, None


class Working:
    """An agent that works for some seconds; ``ended`` says how."""

    def __init__(self, seconds: float, error: str = "") -> None:
        self.seconds = seconds
        self.error = error
        self.ended = ""

    async def run(self) -> AgentClaim:
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise
        self.ended = "done"
        return AgentClaim(error=self.error)


async def test_an_agent_that_takes_too_long_is_ended() -> None:
    agent = Working(5)
    end = await run_timed(agent.run(), 0.05, None)
    assert (end.outcome, agent.ended) == (Outcome.AGENT_TIMEOUT, "cancelled")
    assert "0.05 s" in end.detail


async def test_an_agent_without_a_limit_ends_by_itself() -> None:
    assert (await run_timed(Working(0.01).run(), None, None)).outcome is None
    assert (await run_timed(Working(0.01, "exit code 3").run(), None, None)).outcome is Outcome.AGENT_ERROR


async def test_waiting_for_the_harness_does_not_eat_the_clock() -> None:
    traffic = Traffic()

    async def run() -> AgentClaim:
        await traffic.wait(0.4)
        return AgentClaim()

    assert (await run_timed(run(), 0.2, traffic)).outcome is None
    traffic = Traffic()

    async def slow() -> AgentClaim:
        await traffic.wait(0.1)
        await asyncio.sleep(5)
        return AgentClaim()

    begun = time.monotonic()
    assert (await run_timed(slow(), 0.2, traffic)).outcome is Outcome.AGENT_TIMEOUT
    assert 0.3 <= time.monotonic() - begun < 3


@pytest.mark.parametrize("outcome", [Outcome.REPLAY_DIVERGED, Outcome.REPLAY_EXHAUSTED])
async def test_a_replay_that_went_another_way_ends_the_agent_at_once_and_is_not_judged(outcome: Outcome) -> None:
    traffic, agent = Traffic(), Working(30)
    asyncio.get_running_loop().call_later(0.05, traffic.stopped.set_result, Stop(outcome, "request 3 is another"))
    begun = time.monotonic()
    with pytest.raises(NotJudged, match="request 3") as raised:
        await run_timed(agent.run(), 60, traffic)
    assert (raised.value.stop.outcome, agent.ended) == (outcome, "cancelled")
    assert time.monotonic() - begun < 5


async def test_what_is_over_budget_ends_the_agent_and_is_judged() -> None:
    traffic = Traffic()
    traffic.stopped.set_result(Stop(Outcome.BUDGET_EXCEEDED, "3 requests were allowed"))
    end = await run_timed(Working(30).run(), 60, traffic)
    assert (end.outcome, end.detail) == (Outcome.BUDGET_EXCEEDED, "3 requests were allowed")


@pytest.mark.parametrize("seconds", [0.01, 30])
async def test_a_provider_that_failed_last_is_no_failure_of_the_agent(seconds: float) -> None:
    traffic = Traffic()
    traffic.fault = "openai answered 503 four times"
    with pytest.raises(ModelError, match="503"):
        await run_timed(Working(seconds).run(), 0.1, traffic)


async def test_an_agent_whose_trial_is_cancelled_is_ended() -> None:
    agent = Working(30)
    running = asyncio.create_task(run_timed(agent.run(), 60, None))
    await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert agent.ended == "cancelled"
