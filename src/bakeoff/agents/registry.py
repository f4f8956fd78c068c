"""Agents by name: through the entry points ``bakeoff.agents``, and those that are described by a TOML file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Protocol, cast

import msgspec

from bakeoff.agents.base import Agent
from bakeoff.agents.installed import catalog
from bakeoff.agents.installed.agent import InstalledAgent
from bakeoff.errors import InputError, nearest
from bakeoff.plugins import find, names
from bakeoff.records.job import AgentRequest, LockedConfig

COMMAND = "command"


class AgentClass(Protocol):
    """What an entry point must name."""

    @classmethod
    def create(cls, request: AgentRequest) -> Agent:
        """Make the agent. One serves many trials, at the same time too. Raises InputError for anything in ``request`` that it cannot do."""
        ...


def make_agent(request: AgentRequest) -> Agent:
    """The agent that ``request`` asks for: the one of its name, or ``command`` where a command is given.

    Raises InputError for a name, an option or a command that is wrong.
    """
    if request.command is None:
        if request.name == COMMAND:
            raise InputError("no command", where="--agent", found=repr(COMMAND), wanted="--agent-cmd COMMAND")
        if request.name not in names("agents"):
            return _installed(request)
        return _class(request.name).create(request)
    if request.name != COMMAND and request.name in agent_names():
        raise InputError(
            "a command cannot have the name of a built-in agent",
            where="--agent-name",
            found=repr(request.name),
            wanted="another name",
        )
    return _class(COMMAND).create(request)


def prepare_agents(requests: Iterable[AgentRequest], note: Callable[[str], None]) -> None:
    """Install what the agents are made of, where that has not been done; ``note`` is told of each before it begins.

    It can take minutes, and changes digests: call it before a job is planned, and before one is resumed. Raises InputError.
    """
    for request in requests:
        if request.command is None and isinstance(agent := make_agent(request), InstalledAgent):
            agent.prepare(note)


def absolute_agent(request: AgentRequest) -> str:
    """The name that is asked for, made absolute where it is the path of a TOML file."""
    name = request.name
    return os.path.abspath(name) if request.command is None and catalog.is_path(name) else name


def agent_names() -> list[str]:
    """Every name that ``-a`` takes, apart from paths."""
    return sorted({*names("agents"), *catalog.names()})


def locked_agent(config: LockedConfig) -> Agent:
    """The agent of a planned job, made once in each process however many trials ask: its files are hashed once.

    Raises InputError where it is not what it was when the job was planned.
    """
    return _locked(msgspec.json.encode(config.agent, order="deterministic"), config.digest)


@lru_cache(maxsize=64)
def _locked(request: bytes, digest: str) -> Agent:
    agent = make_agent(msgspec.json.decode(request, type=AgentRequest))
    if agent.digest != digest:
        raise InputError(
            "the agent changed since the job was planned", where=agent.name, found=agent.digest[:19], wanted=digest[:19]
        )
    return agent


def _installed(request: AgentRequest) -> Agent:
    definition = catalog.find(request.name)
    if definition is None:
        known = agent_names()
        raise InputError(
            "no such agent",
            where="--agent",
            found=repr(request.name),
            wanted=", ".join(known) + ", or the path of a TOML file",
            nearest=nearest(request.name, known),
        )
    return InstalledAgent.create(definition, request)


def _class(name: str) -> AgentClass:
    return cast(AgentClass, find("agents", name, where="--agent"))
