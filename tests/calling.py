"""What a whole command printed and returned, where it ran in this process."""

from __future__ import annotations

from collections.abc import Callable


class Said:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err


Call = Callable[..., Said]
