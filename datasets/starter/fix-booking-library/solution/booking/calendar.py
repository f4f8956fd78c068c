"""Calendars: rooms, what is booked in them, and when they are free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

from booking.interval import Interval, subtract
from booking.rules import Rule
from booking.zones import Zone

HORIZON = timedelta(days=366)  # how far ahead of its first start a new booking is checked
SEARCH = timedelta(days=31)  # how far ahead next_free looks


class Conflict(Exception):
    """Other bookings are in the way. ``names``: theirs, sorted."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = sorted(names)
        super().__init__("in the way: " + ", ".join(self.names))


class Booked(NamedTuple):
    """One occurrence of a booking, in the zone's offsets."""

    start: datetime
    name: str
    end: datetime


class Calendar:
    """Rooms of one zone. ``rooms``: what is booked at the outset, by room and name."""

    def __init__(self, zone: Zone, rooms: Mapping[str, Mapping[str, Rule]] | None = None) -> None:
        self.zone = zone
        self._rooms = {room: dict(rules) for room, rules in (rooms or {}).items()}
        self._cache: dict[tuple[str, date], list[Booked]] = {}

    def add(self, room: str, name: str, rule: Rule) -> None:
        """Book a rule. Raises Conflict or ValueError, and changes nothing then."""
        booked = self._rooms.get(room, {})
        if name in booked:
            raise ValueError(f"{room} has a booking {name} already")
        first = self.zone.to_moment(rule.first)
        starts = Interval(first, first + HORIZON)
        mine = [one for one in rule.occurrences(self.zone, starts) if starts.contains(one.start)]
        if mine:
            whole = Interval(mine[0].start, mine[-1].end)
            names = [other for other, existing in booked.items() if _meet(mine, existing.occurrences(self.zone, whole))]
            if names:
                raise Conflict(names)
        self._rooms.setdefault(room, {})[name] = rule
        self._cache.clear()

    def cancel(self, room: str, name: str) -> None:
        """Take a booking away. KeyError if there is none."""
        del self._rooms[room][name]
        self._cache.clear()

    def busy(self, room: str, day: date) -> list[Booked]:
        """The bookings that overlap the day, by start and name, with their whole times."""
        key = (room, day)
        if key not in self._cache:
            self._cache[key] = self._booked(room, self._day(day))
        return list(self._cache[key])

    def free(
        self, room: str, day: date, opens: time = time(8), closes: time = time(18), least: int = 30
    ) -> list[Interval]:
        """The free intervals of at least ``least`` minutes between two wall times of the day."""
        start, end = (self.zone.to_moment(datetime.combine(day, wall)) for wall in (opens, closes))
        taken = [Interval(one.start, one.end) for one in self.busy(room, day)]
        left = [one for one in subtract(Interval(start, end), taken) if one.minutes >= least]
        return [Interval(self.zone.to_local(one.start), self.zone.to_local(one.end)) for one in left]

    def next_free(self, room: str, after: datetime, minutes: int) -> datetime | None:
        """The earliest moment, not before ``after`` (a moment or a wall time), from which the room is free for so long."""
        start = after if after.tzinfo is not None else self.zone.to_moment(after)
        window = Interval(start, start + SEARCH)
        taken = [Interval(one.start, one.end) for one in self._booked(room, window)]
        for gap in subtract(window, taken):
            if gap.minutes >= minutes:
                return self.zone.to_local(gap.start)
        return None

    def _day(self, day: date) -> Interval:
        midnight, next_midnight = (datetime.combine(one, time()) for one in (day, day + timedelta(days=1)))
        return Interval(self.zone.to_moment(midnight), self.zone.to_moment(next_midnight))

    def _booked(self, room: str, window: Interval) -> list[Booked]:
        local = self.zone.to_local
        return sorted(
            Booked(local(one.start), name, local(one.end))
            for name, rule in self._rooms.get(room, {}).items()
            for one in rule.occurrences(self.zone, window)
        )


def _meet(ones: Sequence[Interval], others: Sequence[Interval]) -> bool:
    """Whether any of the ones overlaps any of the others. In both, starts and ends ascend."""
    i = j = 0
    while i < len(ones) and j < len(others):
        if ones[i].overlaps(others[j]):
            return True
        if ones[i].end < others[j].end:
            i += 1
        else:
            j += 1
    return False
