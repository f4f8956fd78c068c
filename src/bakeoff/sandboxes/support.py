"""What the embedded backends do with each field that a task may declare. Pure tables.

Approximated means, on bubblewrap:

- ``environment.cpus`` and ``memory_mb``, where no control groups can be made: a command may choose other processors than the
  ones it was given, and memory is bounded for each process and not for all together, a quarter of a GiB and a 64th of the
  machine's at the least.
- ``environment.storage_mb``: bounds /tmp, which is in memory, and what is written to the rest of the file system, each. The
  latter is watched, not enforced at each write: what a sandbox writes within a quarter of a second comes on top.
- ``environment.network_mode = "public"`` and ``"allowlist"``: a proxy passes on HTTP and whatever can be asked of a proxy as a tunnel;
  no other traffic leaves the sandbox, and names are resolved by the proxy alone.

On ``process`` nothing is isolated: it runs with the machine's own network, limits and programs. What it can honour
without isolation it does, the rest is approximated or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from bakeoff.sandboxes.base import Support
from bakeoff.tasks.model import Environment, NetworkMode

NETWORK = "environment.network_mode"
ENFORCED, APPROXIMATED, REFUSED = Support.ENFORCED, Support.APPROXIMATED, Support.REFUSED
_Rule = Callable[[Environment], Support]


def _always(answer: Support) -> _Rule:
    return lambda _environment: answer


def _network(answers: Mapping[NetworkMode, Support]) -> _Rule:
    return lambda environment: answers[environment.network.mode]


def _gpus(environment: Environment) -> Support:
    return REFUSED if environment.gpus else ENFORCED


def _os(environment: Environment) -> Support:
    return ENFORCED if environment.os == "linux" else REFUSED


def _hosts(environment: Environment) -> Support:
    return REFUSED if environment.network.mode is NetworkMode.ALLOWLIST else ENFORCED


def _mcp(environment: Environment) -> Support:
    """A server that is reached over a network cannot be; one that the agent starts can."""
    return REFUSED if any(server.url for server in environment.mcp_servers) else ENFORCED


_COMMON: Mapping[str, _Rule] = {
    "environment.cpus": _always(APPROXIMATED),
    "environment.memory_mb": _always(APPROXIMATED),
    "environment.storage_mb": _always(APPROXIMATED),
    "environment.gpus": _gpus,
    "environment.gpu_types": _gpus,
    "environment.tpu": _always(REFUSED),
    "environment.os": _os,
    "environment.compose": _always(REFUSED),
    "artifacts.service": _always(REFUSED),
    "verifier.collect.service": _always(REFUSED),
}
_BY_CONTROLLER = {"environment.cpus": "cpu", "environment.memory_mb": "memory"}
_BUBBLEWRAP: Mapping[str, _Rule] = {
    **_COMMON,
    "environment.mcp_servers": _mcp,
    NETWORK: _network(
        {
            NetworkMode.NONE: ENFORCED,
            NetworkMode.PUBLIC: APPROXIMATED,
            NetworkMode.ALLOWLIST: APPROXIMATED,
            NetworkMode.HOST: ENFORCED,
        }
    ),
}
_PROCESS: Mapping[str, _Rule] = {
    **_COMMON,
    "environment.allowed_hosts": _hosts,
    "environment.docker_image": _always(APPROXIMATED),
    NETWORK: _network(
        {
            NetworkMode.NONE: APPROXIMATED,
            NetworkMode.PUBLIC: ENFORCED,
            NetworkMode.ALLOWLIST: REFUSED,
            NetworkMode.HOST: ENFORCED,
        }
    ),
}
FIELDS = tuple(dict.fromkeys((*_BUBBLEWRAP, *_PROCESS)))
"""The fields that a backend answers for; all others are honoured outside of it."""


def bubblewrap(environment: Environment, controllers: Collection[str] = ()) -> Mapping[str, Support]:
    """The answers for every field the author wrote, and for the network, which has a default.

    ``controllers``: those of control groups (``memory``, ``pids``, ``cpu``) that can be used on this machine.
    """
    enforced = {field for field, controller in _BY_CONTROLLER.items() if controller in controllers}
    answers = _answers(_BUBBLEWRAP, environment)
    return {name: ENFORCED if name.removeprefix("steps.") in enforced else answer for name, answer in answers.items()}


def process(environment: Environment) -> Mapping[str, Support]:
    """The answers of the backend without isolation."""
    return _answers(_PROCESS, environment)


def _answers(rules: Mapping[str, _Rule], environment: Environment) -> Mapping[str, Support]:
    """Fields with no rule (limits of time, texts, health checks …) are honoured outside the backend."""
    return {
        name: rules.get(name.removeprefix("steps."), _always(ENFORCED))(environment)
        for name in (*environment.fields, NETWORK)
    }
