"""The networks of a trial's phases, and the proxies that give them to sandboxes that have none of their own."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from socket import socket
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from msgspec import Struct

from bakeoff.errors import SandboxError
from bakeoff.files.atomic import write_json
from bakeoff.gateway.egress.env import PORT, proxy_env
from bakeoff.records.egress import EgressRecord
from bakeoff.records.job import RunRequest
from bakeoff.sandboxes.base import Door, Sandbox
from bakeoff.tasks.model import Environment, Network, NetworkMode, Step

if TYPE_CHECKING:
    from bakeoff.gateway.egress.proxy import Proxy
    from bakeoff.gateway.egress.record import Ledger

PROXIED = frozenset({NetworkMode.PUBLIC, NetworkMode.ALLOWLIST})
"""Networks that a sandbox without one gets from a proxy."""


class Phases(Struct, frozen=True):
    """The network of each phase of a step.

    ``setup`` is the environment's own: files, setup scripts and health checks. ``verify`` is of what collects and judges.
    ``judge`` is the one that a sandbox opened for the judge alone starts with.
    """

    setup: Network
    agent: Network
    verify: Network
    judge: Network


def phases_of(environment: Environment, step: Step, settings: RunRequest, mode: str) -> Phases:
    """What the task says of each phase, verified in this mode; ``--network``, in ``environment`` already, overrides all of it."""
    own = environment.network
    if settings.network is not None:
        return Phases(own, own, own, own)
    apart = step.verifier.environment if mode == "separate" else None
    judge = apart.network if apart is not None else own
    return Phases(
        setup=own,
        agent=step.agent.network or own,
        verify=step.verifier.network or judge,
        judge=judge,
    )


class _Gate(NamedTuple):
    door: Door
    proxy: Proxy


class TrialNetwork:
    """Gives the sandboxes of one try what the network of each phase allows, and records what they asked of it in ``egress.json``.

    A context: nothing is reachable, and nothing runs, once it is left. ``isolated``: sandboxes have no network of their own.
    """

    def __init__(self, folder: Path, *, isolated: bool) -> None:
        self._path = folder / "egress.json"
        self._isolated = isolated
        self._gates: dict[int, _Gate] = {}
        self._ledger: Ledger | None = None
        self._saved: EgressRecord | None = None

    def env(self, network: Network) -> dict[str, str]:
        """What commands in a phase with this network find in their environment."""
        return proxy_env() if self._isolated and network.mode in PROXIED else {}

    async def enter(self, sandbox: Sandbox, phase: str, step: str, network: Network) -> None:
        """From now on the sandbox reaches what ``network`` allows; what it had reached through another one ends."""
        gate = self._gates.get(id(sandbox))
        if gate is None:
            if not self._isolated or network.mode not in PROXIED:
                return
            gate = self._gates[id(sandbox)] = await self._open(sandbox)
        from bakeoff.gateway.egress.policy import policy_of

        await gate.proxy.use(policy_of(network), phase, step, network)

    async def leave(self, sandbox: Sandbox) -> None:
        """The sandbox reaches nothing any more; ``enter`` opens a new door. For one that ends, or starts anew on its snapshot."""
        gate = self._gates.pop(id(sandbox), None)
        if gate is not None:
            await gate.proxy.close()
            await gate.door.close()

    async def _open(self, sandbox: Sandbox) -> _Gate:
        from bakeoff.gateway.egress.proxy import Proxy
        from bakeoff.gateway.egress.record import Ledger

        if self._ledger is None:
            self._ledger = Ledger()
        door = await sandbox.listen(PORT)
        if not isinstance(door.socket, socket):
            raise SandboxError("this backend gives no socket inside the sandbox's network for its proxy to listen on")
        proxy = Proxy(door.socket, self._ledger)
        proxy.start()
        return _Gate(door, proxy)

    def save(self) -> None:
        """Write what was asked so far. A try in which no phase had a proxy has no such file."""
        if self._ledger is None:
            return
        record = self._ledger.record()
        if record != self._saved:
            write_json(self._path, record)
            self._saved = record

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for gate in list(self._gates.values()):
            await gate.proxy.close()
            await gate.door.close()
        self._gates.clear()
        with suppress(OSError):  # the trial has ended, and what it came to is written
            self.save()
