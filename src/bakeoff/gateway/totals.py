"""What the answers of a trial came to, all together."""

from __future__ import annotations

from bakeoff.gateway.prices import Price, cost
from bakeoff.gateway.usage import Reading
from bakeoff.records.exchanges import End, Via
from bakeoff.records.results import Usage

NONE_YET = Usage(0, 0, 0, 0, 0.0)


def usage_of(reading: Reading, end: End, via: Via, price: Price | None) -> Usage:
    """One exchange's usage. Only what a provider does now costs anything; what an answer that broke off would have said is not known."""
    if end != "complete":
        reading = Reading(reading.model, reading.input, None, reading.cached, reading.cache_written)
    dollars = cost(reading, price) if via == "live" else 0.0
    return Usage(1, reading.input, reading.output, reading.cached, dollars)


def add(total: Usage, one: Usage) -> Usage:
    """A sum with a part that is not known is not known."""
    return Usage(
        _sum(total.requests, one.requests),
        _sum(total.input_tokens, one.input_tokens),
        _sum(total.output_tokens, one.output_tokens),
        _sum(total.cached_tokens, one.cached_tokens),
        None if total.cost_usd is None or one.cost_usd is None else round(total.cost_usd + one.cost_usd, 9),
    )


def _sum(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b
