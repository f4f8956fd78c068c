"""Zones: how far the wall clock is ahead of UTC, and since when."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

UTC = timezone(timedelta(0), "UTC")


class Zone:
    """A name and changes of the clock: (moment, minutes ahead of UTC from then on), in any order."""

    def __init__(self, name: str, changes: Iterable[tuple[datetime, int]]) -> None:
        self.name = name
        ordered = sorted(changes)
        self._moments = [moment for moment, _ in ordered]
        self._offsets = [timedelta(minutes=minutes) for _, minutes in ordered]

    def offset_at(self, moment: datetime) -> timedelta:
        """How far the wall clock is ahead of UTC at this moment."""
        return self._offsets[max(0, bisect_right(self._moments, moment) - 1)]

    def to_local(self, moment: datetime) -> datetime:
        """The same moment, in the offset that the zone has then."""
        return moment.astimezone(timezone(self.offset_at(moment)))

    def to_moment(self, wall: datetime) -> datetime:
        """The moment, in UTC, at which the clock shows a wall time; for times shown twice or never see README.md."""
        aware = wall.replace(tzinfo=UTC)
        moments = [aware - offset for offset in set(self._offsets)]
        shown = [moment for moment in moments if moment + self.offset_at(moment) == aware]
        if shown:
            return min(shown)
        # The clock jumps over this wall time: read it as the clock before the jump would.
        for i in range(1, len(self._moments)):
            before, after = self._offsets[i - 1], self._offsets[i]
            if self._moments[i] + before <= aware < self._moments[i] + after:
                return aware - before
        raise ValueError(f"{wall} is no wall time of {self.name}")


def load_zones(path: str) -> dict[str, Zone]:
    """Zones by name, from a JSON file: {name: [[moment in UTC, minutes], ...]}."""
    with open(path, encoding="utf-8") as file:
        table = json.load(file)
    return {
        name: Zone(name, [(datetime.fromisoformat(text).replace(tzinfo=UTC), minutes) for text, minutes in changes])
        for name, changes in table.items()
    }
