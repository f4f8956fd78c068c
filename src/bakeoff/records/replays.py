"""What became of a fixture that was replayed in one trial."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from bakeoff.records.results import SCHEMA_VERSION

Match = Literal["strict", "normalised", "sequential"]
"""``strict``: a request's bytes are the recorded ones; ``normalised``: it asks the same; ``sequential``: whatever it asks, it gets the
next answer of its API."""


class ReplayReport(Struct, frozen=True, kw_only=True):
    """``served`` counts answers that came from the fixture, ``live`` those that did not (after ``--until``).

    ``unused`` are the ``seq`` of recorded exchanges that no request asked for. ``missed`` counts requests that got no answer, a repeat of
    the one before it not counted; ``ended`` is the first one's reason, ``nearest`` the ``seq`` of the recorded request most like it,
    and ``difference`` says in words and lines where the two differ. ``notes`` tell what about the trial is not as it was recorded.
    """

    schema_version: str = SCHEMA_VERSION
    fixture: str = ""
    match: Match = "normalised"
    served: int = 0
    live: int = 0
    unused: tuple[int, ...] = ()
    missed: int = 0
    ended: Literal["", "replay_diverged", "replay_exhausted"] = ""
    nearest: int | None = None
    difference: str = ""
    notes: tuple[str, ...] = ()
