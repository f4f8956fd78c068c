"""What a log of another tool holds: turns of a conversation in one form, whichever tool wrote them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from bakeoff.errors import InputError
from bakeoff.gateway.shapes.base import Ask, Turn
from bakeoff.gateway.shapes.neutral import neutral_key

T = TypeVar("T")

LONGEST = 256 << 20
"""The most bytes of a line. What is longer is no log of one call or one trial."""


class Imported(Struct, frozen=True, kw_only=True):
    """One request with its answer. Times are nanoseconds since 1970, None where they are not told; ``line`` counts from 1."""

    ask: Ask
    turn: Turn
    provider: str = ""
    started: int | None = None
    ended: int | None = None
    cost_usd: float | None = None
    trace: str = ""
    line: int = 0


class Found(Struct, frozen=True, kw_only=True):
    """What was read. ``passed_over`` counts, in words, what is no turn; the rest is what the log says of the trial, if anything."""

    turns: tuple[Imported, ...]
    passed_over: dict[str, int] = {}
    agent: str = ""
    agent_version: str = ""
    dataset: str = ""
    task: str = ""
    outcome: str = ""
    reward: float | None = None


def lines(path: Path, kind: type[T]) -> Iterator[tuple[int, T]]:
    """The lines of a file as ``kind``, counted from 1; empty ones are passed over.

    Raises InputError with file and line for one that is no JSON, is cut off or has fields of another type: a fixture with a gap
    does not replay, so nothing is left out in silence.
    """
    decoder = msgspec.json.Decoder(kind)
    number = 0
    try:
        with open(path, "rb") as stream:
            while line := stream.readline(LONGEST + 1):
                number += 1
                if len(line) > LONGEST:
                    raise wrong(path, number, "too long for a line", wanted=f"at most {LONGEST} bytes")
                text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if not text.strip():
                    continue
                try:
                    yield number, decoder.decode(text)
                except msgspec.ValidationError as error:
                    raise wrong(path, number, f"not of this format: {error}") from None
                except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                    cut = "" if line.endswith(b"\n") else ", and the file ends in it"
                    raise wrong(
                        path, number, f"not a line of JSON{cut}: {error or 'too deep'}", wanted="JSON lines"
                    ) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None


def wrong(path: Path, line: int, what: str, *, field: str = "", found: str = "", wanted: str = "") -> InputError:
    """An error at a line of a log."""
    return InputError(what, where=f"{path}: line {line}", field=field, found=found, wanted=wanted)


def in_order(turns: Sequence[Imported]) -> list[Imported]:
    """By the time of the request; as they stand in the file where any has no time."""
    if any(turn.started is None for turn in turns):
        return list(turns)
    return sorted(turns, key=lambda turn: (turn.started or 0, turn.line))


def without_duplicates(turns: Sequence[Imported]) -> list[Imported]:
    """Each call once. Two records of one call have the same id of the response, and ask the same or overlap in time: a framework and
    the client below it both tell of it. The one that says more stands.

    Some servers give every answer the same id: calls that follow each other and ask different things are kept.
    """
    kept: list[Imported] = []
    by_id: dict[str, list[int]] = {}
    for turn in turns:
        ident = turn.turn.id
        if ident is None:
            kept.append(turn)
            continue
        places = by_id.setdefault(ident, [])
        same = next((place for place in places if _same_call(kept[place], turn)), None)
        if same is None:
            places.append(len(kept))
            kept.append(turn)
        elif _said(turn) > _said(kept[same]):
            kept[same] = turn
    return kept


def _same_call(one: Imported, other: Imported) -> bool:
    if one.started is not None and other.started is not None and one.ended is not None and other.ended is not None:
        if max(one.started, other.started) < min(one.ended, other.ended):
            return True
        if (one.started, one.ended) == (other.started, other.ended):
            return True
    return neutral_key(one.ask, system=False) == neutral_key(other.ask, system=False)


def _said(turn: Imported) -> int:
    said = sum(len(message.text) + sum(len(call.arguments) for call in message.calls) for message in turn.ask.messages)
    return said + len(turn.turn.text) + sum(len(call.arguments) for call in turn.turn.calls)
