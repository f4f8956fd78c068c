"""What the gate has found, as it is told: findings and notes, each once, and not without end."""

from __future__ import annotations

from bakeoff.checks.base import Looked
from bakeoff.checks.leak.match import Match
from bakeoff.checks.leak.oracle import Stood
from bakeoff.checks.leak.seen import Place
from bakeoff.records.checks import Finding
from bakeoff.tasks.meant import is_meant
from bakeoff.tasks.model import Task

_MOST = 100
_LONGEST = 400  # letters of a name
_RIGHT = "take it away, or name the place in `meant` if finding it is the task"


class Told:
    """Collects. What is ``meant`` becomes a note whatever it is."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._findings: dict[tuple[str, str, str], Finding] = {}
        self._notes: dict[tuple[str, str, str], Finding] = {}
        self._told: set[tuple[str, str]] = set()
        self._wrong: set[str] = set()

    def match(self, match: Match) -> None:
        """Something hidden in something visible, once for each pair of them."""
        place, secret = match.seen.place, match.secret
        if (pair := (str(place), secret.path)) in self._told:
            return
        self._told.add(pair)
        what = {
            "same": f"the same as {secret.path}, which is hidden",
            "whole": f"holds all that {secret.path} says, which is hidden",
            "lines": f"has many lines in common with {secret.path}, which is hidden",
            "compiled": f"is called as if it were compiled from {secret.path}, which is hidden",
            "value": f"names the value in {secret.path}, which is hidden",
        }[match.how]
        if match.sound:
            self.note(f"{what}; no fault where it has to be known", place=place)
        else:
            self.finding(f"{what}; {_RIGHT}", place=place)
            self._wrong.add(str(place))

    def stood(self, stood: Stood) -> None:
        """A result of the solution that was to be had; where a hidden file was found in the same place, that says it already."""
        what = f"this is what the solution leaves at {stood.path}"
        if stood.sound:
            self.note(f"{what}; no fault where it is to be taken from here", place=stood.place)
        elif str(stood.place) not in self._wrong:
            self.finding(f"{what}, and it is there from the start; {_RIGHT}", place=stood.place)

    def finding(self, message: str, *, place: Place | None = None) -> None:
        """Something is wrong, unless the place is meant."""
        place = place or Place()
        if is_meant(self._task, place.file, place.path):
            self._add(self._notes, f"{message.partition(';')[0]}: meant", place)
        else:
            self._add(self._findings, message, place)

    def note(self, message: str, *, place: Place | None = None) -> None:
        self._add(self._notes, message, place or Place())

    def unseen(self, what: str, reason: str) -> None:
        """Something could not be looked at, so the gate was not shown to hold."""
        self.finding(f"not looked at: {what}: {reason}")

    def looked(self) -> Looked:
        """All of it, in an order that does not depend on how it was found."""
        return Looked(_cut(self._findings), _cut(self._notes))

    def _add(self, into: dict[tuple[str, str, str], Finding], message: str, place: Place) -> None:
        field = shown("!".join(part for part in (place.path, place.inner) if part))
        key = (place.file, field, message)
        into.setdefault(key, Finding(task=self._task.ref, message=message, file=place.file, field=field))


def shown(name: str) -> str:
    """A name that anybody may have chosen, or a text with one in it, as a terminal can show it."""
    cut = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in cut)


def _cut(found: dict[tuple[str, str, str], Finding]) -> tuple[Finding, ...]:
    out = [found[key] for key in sorted(found)]
    if len(out) <= _MOST:
        return tuple(out)
    more = Finding(task=out[0].task, message=f"and {len(out) - _MOST} more of these")
    return (*out[:_MOST], more)
