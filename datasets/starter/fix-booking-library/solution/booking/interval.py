"""Intervals of time. An interval has its start and lacks its end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, order=True)
class Interval:
    """From a moment up to, and without, another one. ValueError if either is naive, or the end is not after the start."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("an interval needs aware datetimes")
        if self.end <= self.start:
            raise ValueError("an interval must end after its start")

    @property
    def minutes(self) -> float:
        """Its length."""
        return (self.end - self.start).total_seconds() / 60

    def contains(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def overlaps(self, other: Interval) -> bool:
        """Whether they have any moment in common."""
        return self.start < other.end and other.start < self.end


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """The same moments in as few intervals as possible, sorted: what overlaps or touches becomes one."""
    merged: list[Interval] = []
    for one in sorted(intervals):
        if merged and one.start <= merged[-1].end:
            merged[-1] = Interval(merged[-1].start, max(merged[-1].end, one.end))
        else:
            merged.append(one)
    return merged


def subtract(whole: Interval, taken: Iterable[Interval]) -> list[Interval]:
    """What is left of ``whole`` without ``taken`` (in any order, overlapping or not, also outside of it), sorted."""
    left: list[Interval] = []
    start = whole.start
    for one in merge(taken):
        if one.start >= whole.end:
            break
        if one.start > start:
            left.append(Interval(start, one.start))
        start = max(start, one.end)
    if start < whole.end:
        left.append(Interval(start, whole.end))
    return left
