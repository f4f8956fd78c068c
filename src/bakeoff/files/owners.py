"""Whose files are: the ids that a sandbox sees, and those that the machine has for them."""

from __future__ import annotations

from msgspec import Struct

ROOT, NOBODY = 0, 65534
_KEEP = 0xFFFFFFFF  # to the kernel it means: leave the owner as it is


class Owners(Struct, frozen=True):
    """``count`` ids, from 0 inside and from ``base`` on outside, as a user namespace maps them."""

    base: int = 0
    count: int = _KEEP

    def holds(self, outer: int) -> bool:
        """Whether an id of the machine has one inside."""
        return self.base <= outer < self.base + self.count

    def outer(self, inner: int) -> int:
        """The machine's id for one that a tar names; root's where there is none."""
        return self.base + (inner if 0 <= inner < self.count else ROOT)

    def inner(self, outer: int) -> int:
        """The id that the sandbox sees; nobody's where it has none."""
        return outer - self.base if self.holds(outer) else NOBODY


AS_NAMED = Owners()
"""The machine's ids are those that the tar names."""
