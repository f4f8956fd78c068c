"""When a request is sent again, and after how long: pure decisions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from msgspec import Struct

from bakeoff.gateway.coding import header
from bakeoff.records.exchanges import Headers

TOO_MUCH = frozenset({429, 503, 529})
"""The provider has too much to do: fewer requests at once."""


class Retry(Struct, frozen=True):
    """``tries`` counts the first one too. Times in seconds. A provider that wants a longer wait than ``longest`` has failed for good."""

    tries: int = 6
    first: float = 0.5
    most: float = 30.0
    longest: float = 120.0


def again(status: int) -> bool:
    """Whether an answer with this status may be followed by a better one."""
    return status in (408, 429) or status >= 500


def wait(retry: Retry, tries: int, after: float | None, chance: Callable[[], float]) -> float | None:
    """Seconds to wait before the next try, None: there is none. ``tries`` were made; ``chance`` gives numbers from 0 to 1."""
    if tries >= retry.tries or (after is not None and after > retry.longest):
        return None
    backoff = min(retry.most, retry.first * 2 ** (tries - 1)) * (0.5 + chance() / 2)
    return max(after or 0.0, backoff)


def retry_after(headers: Headers, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """The seconds that a provider wants to be left alone; None where it does not say, or nothing that can be read."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = header(headers, name).partition(",")[0].strip() if scale < 1 else header(headers, name).strip()
        if text.replace(".", "", 1).isdecimal() and text.isascii() and len(text) < 12:
            return float(text) * scale
        if text and scale == 1.0:
            try:
                moment = parsedate_to_datetime(text)
            except (ValueError, TypeError):
                continue
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            return max(0.0, (moment - now()).total_seconds())
    return None
