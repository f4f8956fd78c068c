"""What a trial asked of the network, counted as it goes: bounded, whatever the code inside does."""

from __future__ import annotations

from bakeoff.gateway.egress.targets import Target
from bakeoff.records.egress import Decision, EgressEntry, EgressPhase, EgressRecord
from bakeoff.records.times import now
from bakeoff.tasks.model import Network

ENTRIES = 1000
_METHODS = 8
_METHOD_LENGTH = 20


class Tally:
    """The requests of one phase to one destination that ended in the same way."""

    def __init__(self) -> None:
        self.reason = ""
        self.methods: list[str] = []
        self.count = 0
        self.sent = 0
        self.received = 0
        self.first_at = self.last_at = now()


_Key = tuple[str, str, str, int, Decision]


class Ledger:
    """The requests of one trial."""

    def __init__(self) -> None:
        self._phases: dict[EgressPhase, None] = {}
        self._tallies: dict[_Key, Tally] = {}
        self._spare = Tally()
        self.malformed = 0

    def begin(self, phase: str, step: str, network: Network) -> EgressPhase:
        entered = EgressPhase(phase=phase, step=step, network=str(network.mode), hosts=network.hosts)
        self._phases[entered] = None
        return entered

    def note(self, phase: EgressPhase, method: str, target: Target, decision: Decision, reason: str) -> Tally:
        """Count one request; what it transfers is added to the tally as it goes."""
        key = (phase.phase, phase.step, target.host, target.port, decision)
        tally = self._tallies.get(key)
        if tally is None and len(self._tallies) < ENTRIES:
            tally = self._tallies[key] = Tally()
            tally.reason = reason
        if tally is None:
            tally = self._spare
        tally.count += 1
        tally.last_at = now()
        if method[:_METHOD_LENGTH] not in tally.methods and len(tally.methods) < _METHODS:
            tally.methods.append(method[:_METHOD_LENGTH])
        return tally

    def record(self) -> EgressRecord:
        return EgressRecord(
            phases=tuple(self._phases),
            entries=tuple(_entry(key, tally) for key, tally in self._tallies.items()),
            omitted=self._spare.count,
            malformed=self.malformed,
        )


def _entry(key: _Key, tally: Tally) -> EgressEntry:
    phase, step, host, port, decision = key
    return EgressEntry(
        phase=phase,
        step=step,
        host=host,
        port=port,
        decision=decision,
        reason=tally.reason,
        methods=tuple(tally.methods),
        count=tally.count,
        sent_bytes=tally.sent,
        received_bytes=tally.received,
        first_at=tally.first_at,
        last_at=tally.last_at,
    )
