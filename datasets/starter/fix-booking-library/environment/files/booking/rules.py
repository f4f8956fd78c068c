"""Rules: what happens again and again at the same wall time."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import count as count_up

from booking.interval import Interval
from booking.zones import Zone


@dataclass(frozen=True)
class Rule:
    """A first start (wall time), a length, and how it repeats: every ``step`` days, weeks or months."""

    first: datetime
    minutes: int
    every: str = "day"
    step: int = 1
    weekdays: tuple[int, ...] = ()
    count: int | None = None
    until: date | None = None
    skip: frozenset[date] = frozenset()

    def __post_init__(self) -> None:
        if self.first.tzinfo is not None:
            raise ValueError("a rule's first start is a wall time")
        if self.every not in ("day", "week", "month") or self.step < 1 or self.minutes < 1:
            raise ValueError("a rule repeats every 1 or more days, weeks or months, for at least a minute")

    def dates(self) -> Iterator[date]:
        """The days on which it happens, in order; without end if neither ``count`` nor ``until`` ends it."""
        number = 0
        for day in self._days():
            if day in self.skip:
                continue
            if self.count is not None and number > self.count:
                return
            if self.until is not None and day >= self.until:
                return
            number += 1
            yield day

    def occurrences(self, zone: Zone, window: Interval) -> list[Interval]:
        """Every occurrence that overlaps the window, in order."""
        found: list[Interval] = []
        first = zone.to_moment(self.first)
        for day in self.dates():
            start = first + (day - self.first.date())
            if start >= window.end:
                break
            one = Interval(start, start + timedelta(minutes=self.minutes))
            if window.contains(one.start):
                found.append(one)
        return found

    def _days(self) -> Iterator[date]:
        """The days of the repetition itself, without regard to its end or to skipped days."""
        first = self.first.date()
        if self.every == "month":
            yield from self._month_days(first)
        elif self.every == "week":
            weekdays = self.weekdays or (first.weekday(),)
            ahead = [(weekday - first.weekday()) % 7 for weekday in weekdays]
            for week in count_up(0, self.step):
                yield from (first + timedelta(days=7 * week + days) for days in ahead)
        else:
            for number in count_up(0, self.step):
                yield first + timedelta(days=number)

    def _month_days(self, first: date) -> Iterator[date]:
        for number in count_up(first.year * 12 + first.month - 1, self.step):
            year, month = number // 12, number % 12 + 1
            yield date(year, month, min(first.day, monthrange(year, month)[1]))
