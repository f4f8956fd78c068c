"""A provider that answers with the key it was sent does not give it to the agent."""

from __future__ import annotations


class Mask:
    """Replaces every occurrence of a secret by as many asterisks, wherever the pieces of a stream end.

    What may be the beginning of one waits for the next piece. Nobody notices: a stream that pauses does so at the end of
    a line, and no key has one in it.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._stars = b"*" * len(self._secret)
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What can go on now."""
        secret = self._secret
        if self._held:
            data = self._held + data
            self._held = b""
        if secret in data:
            data = data.replace(secret, self._stars)
        start = max(0, len(data) - len(secret) + 1)
        while (start := data.find(secret[:1], start)) >= 0:
            if secret.startswith(data[start:]):
                self._held = data[start:]
                return data[:start]
            start += 1
        return data

    def end(self) -> bytes:
        """What was held back, once nothing follows."""
        held, self._held = self._held, b""
        return held
