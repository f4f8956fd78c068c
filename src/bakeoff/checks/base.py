"""What every gate returns for a task."""

from __future__ import annotations

from msgspec import Struct

from bakeoff.records.checks import Finding


class Looked(Struct, frozen=True):
    """What a gate found in one task. The gate holds where ``findings`` is empty; ``notes`` are worth knowing, and no fault."""

    findings: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()
