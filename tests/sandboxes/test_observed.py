"""What doctor says of the protections and limits that hold here."""

from __future__ import annotations

import pytest

from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
from bakeoff.sandboxes.observed import observed, protections

OUTSIDE = {"pid": "pid:[1]", "net": "net:[2]"}
HELD = "NoNewPrivs:\t1\nSeccomp:\t2\nCapBnd:\t00000000800405fb\npid:[3]\nnet:[4]\n"


def test_a_sandbox_in_which_all_holds_is_said_to_hold() -> None:
    assert protections(HELD, OUTSIDE).ok


@pytest.mark.parametrize(
    ("there", "instead", "missing"),
    [
        ("net:[4]", "net:[2]", "net namespace"),
        ("NoNewPrivs:\t1", "NoNewPrivs:\t0", "new privileges"),
        ("Seccomp:\t2", "Seccomp:\t0", "system calls"),
        ("CapBnd:\t00000000800405fb", "CapBnd:\t000001ffffffffff", "capabilities"),
        ("CapBnd:\t00000000800405fb\n", "", "capabilities"),
    ],
)
def test_what_does_not_hold_is_named(there: str, instead: str, missing: str) -> None:
    check = protections(HELD.replace(there, instead), OUTSIDE)
    assert not check.ok and missing in check.detail


async def test_it_is_looked_at_from_inside() -> None:
    backend = BubblewrapBackend()
    await backend.check()
    held, limited = await observed(backend)
    assert held.ok, held
    assert "disk approximated" in limited.detail and ("memory" in limited.remedy or "memory" in limited.detail)
    backend.without = frozenset({"new-privileges", "capabilities"})
    held, _ = await observed(backend)
    await backend.close()
    assert not held.ok and "no new privileges, the bounding of capabilities" in held.detail
