"""How much a trial, and the whole job, may spend on its model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from msgspec import Struct

from bakeoff.errors import InputError, nearest
from bakeoff.gateway.prices import Price, cost, price_of
from bakeoff.gateway.traffic import Refused
from bakeoff.gateway.usage import Reading
from bakeoff.records.results import Usage

KIND = "budget_exceeded"
_NAMES = ("requests", "tokens", "cost_usd", "job.requests", "job.tokens", "job.cost_usd")


class Budget(Struct, frozen=True):
    """Limits; None: none. ``tokens`` are those that came in and went out, the cached ones too."""

    requests: int | None = None
    tokens: int | None = None
    cost_usd: float | None = None

    @property
    def empty(self) -> bool:
        return self.requests is None and self.tokens is None and self.cost_usd is None


class Budgets(Struct, frozen=True):
    """What ``--budget`` asked for: for each trial, and for the whole job."""

    trial: Budget = Budget()
    job: Budget = Budget()


def parse(texts: Iterable[str], where: str = "--budget") -> Budgets:
    """Budgets from ``requests=N``, ``tokens=N``, ``cost_usd=X`` and the same with ``job.`` before them. Raises InputError."""
    found: dict[str, dict[str, float]] = {"": {}, "job": {}}
    for text in texts:
        name, sign, value = text.partition("=")
        name = name.strip()
        if not sign or name not in _NAMES:
            raise InputError(
                "not a budget",
                where=where,
                found=text,
                wanted=" or ".join(f"{one}={'X' if 'cost' in one else 'N'}" for one in _NAMES),
                nearest=nearest(name, _NAMES),
            )
        scope, _, field = name.rpartition(".")
        if field in found[scope]:
            raise InputError("this budget was given twice", where=where, field=name)
        found[scope][field] = _number(value.strip(), name, where)
    return Budgets(_budget(found[""]), _budget(found["job"]))


def _number(text: str, name: str, where: str) -> float:
    whole = not name.endswith("cost_usd")
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = -1
    if not math.isfinite(value) or value < 0 or value > 2**53:
        wanted = "a whole number of at least 0" if whole else "US dollars, a number of at least 0"
        raise InputError("not a budget", where=where, field=name, found=text, wanted=wanted)
    return value


def _budget(values: dict[str, float]) -> Budget:
    requests, tokens = values.get("requests"), values.get("tokens")
    return Budget(
        None if requests is None else int(requests),
        None if tokens is None else int(tokens),
        values.get("cost_usd"),
    )


def check_price(budgets: Budgets, provider: str, model: str | None, table: Sequence[Price]) -> None:
    """Raises InputError where a cost was limited for a model whose cost could not be told. OpenRouter says the cost with each answer."""
    limited = budgets.trial.cost_usd is not None or budgets.job.cost_usd is not None
    if limited and provider != "openrouter" and price_of(provider, model, table) is None:
        raise InputError(
            "the price of this model is not known, so its cost cannot be limited",
            where="--budget",
            field="cost_usd",
            found=f"{provider}/{model}",
            wanted="its price in prices.toml in BAKEOFF_HOME, or a budget of requests or tokens",
        )


class Account:
    """What was spent of one budget. A trial has one, and all trials of a job share another. ``whose`` is for messages."""

    def __init__(self, budget: Budget, whose: str) -> None:
        self.budget = budget
        self.requests = 0
        self.tokens = 0
        self.cost_usd = 0.0
        self._whose = whose

    def check(self) -> None:
        """Raises Refused where nothing may be sent any more."""
        budget = self.budget
        for name, spent, limit in (
            ("requests", self.requests, budget.requests),
            ("tokens", self.tokens, budget.tokens),
            ("cost_usd", self.cost_usd, budget.cost_usd),
        ):
            if limit is not None and spent >= limit:
                message = f"The budget of this {self._whose} is spent: {name} {_plain(spent)} of {_plain(limit)}."
                raise Refused(400, KIND, message, final=True, detail=message)

    def begin(self) -> None:
        """A request is sent now."""
        self.requests += 1

    def spend(self, usage: Usage, guessed: Guess) -> None:
        """Count an answer. What it did not say is taken to be as guessed: a limit must hold for silent servers too, and for agents that
        do not wait for the end of an answer, where its usage stands."""
        known = usage.input_tokens is not None and usage.output_tokens is not None
        self.tokens += (usage.input_tokens or 0) + (usage.output_tokens or 0) if known else guessed.tokens
        self.cost_usd += guessed.cost_usd if usage.cost_usd is None else usage.cost_usd


class Guess(Struct, frozen=True):
    """About what an answer comes to, for budgets alone."""

    tokens: int
    cost_usd: float


def guess(came: int, went: int, price: Price | None) -> Guess:
    """A token for four bytes of the request, and of the answer. ``price`` is None where nothing is paid, or the price is not known."""
    asked, answered = -(-came // 4), -(-went // 4)
    return Guess(asked + answered, cost(Reading(input=asked, output=answered), price) or 0.0)


def _plain(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
