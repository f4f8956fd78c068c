"""What tokens cost. A model that is in no table has no known cost, which is not zero."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from datetime import date
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from bakeoff.errors import InputError, InputErrors
from bakeoff.gateway.usage import Reading
from bakeoff.home import home
from bakeoff.tasks.decode import decode

Dollars = Annotated[float, Meta(ge=0)]
MILLION = 1_000_000


class Price(Struct, frozen=True, kw_only=True):
    """One entry of ``prices.toml``; see there for the fields."""

    provider: str
    model: str
    date: str
    input: Dollars
    output: Dollars
    cached: Dollars | None = None
    cache_written: Dollars | None = None
    over: Annotated[int, Meta(gt=0)] | None = None
    over_input: Dollars | None = None
    over_cached: Dollars | None = None
    over_output: Dollars | None = None


class _Table(Struct, frozen=True):
    price: tuple[Price, ...] = ()


def prices(folder: Path | None = None) -> tuple[Price, ...]:
    """All prices, the user's own (``prices.toml`` in ``folder``, ``BAKEOFF_HOME`` by default) first. Raises InputError."""
    shipped = _read(files("bakeoff.gateway").joinpath("prices.toml").read_text(encoding="utf-8"), "prices.toml")
    own = (folder or home()) / "prices.toml"
    return (*(_read(own.read_text(encoding="utf-8"), str(own)) if own.is_file() else ()), *shipped)


def price_of(provider: str, model: str | None, table: Sequence[Price]) -> Price | None:
    """The price that counts for a model, None where it is not known."""
    for price in table:
        if model is not None and fnmatchcase(provider, price.provider) and fnmatchcase(model, price.model):
            return price
    return None


def cost(reading: Reading, price: Price | None) -> float | None:
    """US dollars; None where the price or a number of tokens is not known. What the provider itself said counts before the table."""
    if reading.cost_usd is not None:
        return reading.cost_usd
    if price is None or reading.input is None or (reading.output is None and price.output):
        return None
    cached, written = reading.cached or 0, reading.cache_written or 0
    over = price.over is not None and reading.input > price.over
    full = price.over_input if over and price.over_input is not None else price.input
    of_cached = price.over_cached if over and price.over_cached is not None else price.cached
    of_output = price.over_output if over and price.over_output is not None else price.output
    # Writing to a cache costs the same share of input in long prompts as in short ones.
    of_written = full if price.cache_written is None or not price.input else full * price.cache_written / price.input
    plain = max(0, reading.input - cached - written)
    dollars = (
        plain * full
        + cached * (full if of_cached is None else of_cached)
        + written * of_written
        + (reading.output or 0) * of_output
    )
    return round(dollars / MILLION, 9)


def _read(text: str, where: str) -> tuple[Price, ...]:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"this is no TOML: {error}", where=where) from error
    table, findings = decode(_Table, raw, where)
    if findings or table is None:
        raise InputErrors(findings) if len(findings) > 1 else findings[0]
    for number, price in enumerate(table.price):
        try:
            date.fromisoformat(price.date)
        except ValueError as error:
            raise InputError(
                "no date", where=where, field=f"price[{number}].date", found=price.date, wanted="YYYY-MM-DD in quotes"
            ) from error
    return table.price
