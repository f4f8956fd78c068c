"""The time that a trial's requests wait for the harness: it is not the agent's."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager


class Waits:
    """``seconds`` in which at least one request has waited so far, the present wait included."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._past = 0.0
        self._now = 0
        self._since = 0.0

    @property
    def waiting(self) -> bool:
        return self._now > 0

    @property
    def seconds(self) -> float:
        return self._past + (self._clock() - self._since if self._now else 0.0)

    @contextmanager
    def wait(self) -> Generator[None]:
        if not self._now:
            self._since = self._clock()
        self._now += 1
        try:
            yield
        finally:
            self._now -= 1
            if not self._now:
                self._past += self._clock() - self._since
