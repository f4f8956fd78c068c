"""What acts. Agents are found through the entry points ``bakeoff.agents``; each is made from an ``AgentRequest``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, Protocol

from msgspec import Struct

from bakeoff.records.run import TraceKind
from bakeoff.sandboxes.base import Exit, Mount, Sandbox
from bakeoff.tasks.model import McpServer, TaskFile


class Needs(Struct, frozen=True):
    """What an agent must be given. ``mounts`` are shown in the sandbox.

    ``solution`` is for controls alone: the task's own, with the files of the wrong solution called ``wrong`` laid over it, if any.
    ``model``: it cannot run without one; ``default_model`` is the one (``provider/name``) that it has where none is asked for, if any.
    """

    where: Literal["sandbox", "host"] = "sandbox"
    mounts: tuple[Mount, ...] = ()
    solution: bool = False
    wrong: str = ""
    model: bool = False
    default_model: str = ""


class Solution(Struct, frozen=True):
    """The task's own solution: files relative to ``/solution``, and the environment its author gave it."""

    files: tuple[TaskFile, ...]
    env: dict[str, str] = {}


class Endpoint(Struct, frozen=True):
    """Where an agent reaches its model. ``bases`` are base URLs by protocol (``openai``, ``anthropic``, ``gemini``), as the
    usual clients of each want them: OpenAI's ends in ``/v1``, the others have no version. ``key`` is worth nothing outside this
    trial. ``model`` is the name to ask for, without the provider's.
    """

    bases: Mapping[str, str]
    key: str
    model: str
    provider: str = ""


Emit = Callable[[TraceKind, Mapping[str, str | int | float | bool | None]], None]


class AgentContext(Struct, frozen=True, kw_only=True):
    """All that an agent is given; never the Task.

    ``packet`` and ``artifacts`` are paths as the agent sees them (inside the sandbox, or on this machine for a host agent).
    ``env`` is the whole environment of its command. ``logs`` is a folder of this machine for its output. ``output_limit`` is in bytes, for
    each stream. The caller owns the deadline and cancels ``run`` when it has passed. ``endpoint`` is None where no model was asked
    for. ``skills`` is a folder of the sandbox with the task's skills, None where it has none or they are switched off.
    ``mcp_servers`` are the task's.
    """

    instruction: str
    step: str
    packet: str
    artifacts: str
    workdir: str
    user: str | None
    env: Mapping[str, str]
    sandbox: Sandbox
    logs: Path
    output_limit: int
    emit: Emit
    solution: Solution | None = None
    endpoint: Endpoint | None = None
    skills: str | None = None
    mcp_servers: tuple[McpServer, ...] = ()


class AgentClaim(Struct, frozen=True):
    """How the agent's run ended as the harness saw it. ``exit`` is None for agents that are not a command.

    ``error`` says what went wrong, if anything did; ``truncated``: output was cut at the limit.
    """

    exit: Exit | None = None
    error: str = ""
    truncated: bool = False


class Agent(Protocol):
    """``digest`` covers all that the agent is made of; ``command`` is what is run, as a record may show it."""

    name: str
    version: str
    digest: str
    command: str
    needs: Needs

    async def run(self, context: AgentContext) -> AgentClaim: ...
