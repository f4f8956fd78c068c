"""``egress.json`` of a trial: what its sandbox asked of the network, and what became of it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from bakeoff.records.results import SCHEMA_VERSION

Decision = Literal["allowed", "refused", "failed"]
"""``failed``: it was allowed, and could not be reached from the machine that the trial ran on."""


class EgressPhase(Struct, frozen=True):
    """The network of one phase: ``setup``, ``agent`` or ``verify``, in a multi-step task with its step."""

    phase: str
    network: str
    hosts: tuple[str, ...] = ()
    step: str = ""


class EgressEntry(Struct, frozen=True, kw_only=True):
    """All requests of one phase to one host and port that ended in the same way.

    ``methods`` as they were asked, ``CONNECT`` for a tunnel. ``sent_bytes`` left the sandbox, ``received_bytes`` came in.
    ``reason`` is of the first one: allowed, no_network, not_listed, address_not_public, this_machine, unresolved, unreachable.
    """

    phase: str
    step: str = ""
    host: str
    port: int
    decision: Decision
    reason: str
    methods: tuple[str, ...]
    count: int
    sent_bytes: int
    received_bytes: int
    first_at: str
    last_at: str


class EgressRecord(Struct, frozen=True, kw_only=True):
    """``omitted`` counts requests to destinations beyond the first thousand, ``malformed`` those that were no proper requests."""

    schema_version: str = SCHEMA_VERSION
    phases: tuple[EgressPhase, ...]
    entries: tuple[EgressEntry, ...]
    omitted: int = 0
    malformed: int = 0
