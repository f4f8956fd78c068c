"""A provider that answers with the key it was sent does not give it to the agent."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=16)
def _beginnings(secret: bytes) -> tuple[bytes, ...]:
    """The longest first: it has the shorter ones that fit in it."""
    return tuple(secret[:length] for length in range(len(secret) - 1, 0, -1))


class Mask:
    """Replaces every occurrence of a secret by as many asterisks, wherever the pieces of a stream end.

    What may be the beginning of one waits for the next piece. Nobody notices: a stream that pauses does so at the end of
    a line, and no key has one in it.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._stars = b"*" * len(self._secret)
        self._beginnings = _beginnings(self._secret)
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What can go on now."""
        secret = self._secret
        if self._held:
            data = self._held + data
            self._held = b""
        if secret in data:
            data = data.replace(secret, self._stars)
        if data.endswith(self._beginnings):
            held = next(len(one) for one in self._beginnings if data.endswith(one))
            self._held = data[-held:]
            return data[:-held]
        return data

    def end(self) -> bytes:
        """What was held back, once nothing follows."""
        held, self._held = self._held, b""
        return held
