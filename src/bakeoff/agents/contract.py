"""The environment that every agent finds: where things are, under two prefixes, and nothing of the harness's own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from bakeoff.agents.base import Endpoint
from bakeoff.errors import InputError
from bakeoff.images.root import DEFAULT_PATH as DEFAULT_PATH

PREFIXES = ("BAKEOFF_", "AGENT_BENCH_")
_CLIENTS = {
    "openai": (("OPENAI_BASE_URL", "OPENAI_API_BASE"), ("OPENAI_API_KEY",)),
    "anthropic": (("ANTHROPIC_BASE_URL",), ("ANTHROPIC_API_KEY",)),
    "gemini": (("GOOGLE_GEMINI_BASE_URL",), ("GEMINI_API_KEY", "GOOGLE_API_KEY")),
}
"""The variables of each protocol's clients: base URL, key."""


def prefixed(values: Mapping[str, str]) -> dict[str, str]:
    """Each value under both prefixes, so that agents written for either name find it."""
    return {prefix + name: value for name, value in values.items() for prefix in PREFIXES}


def contract_env(
    *,
    task_id: str,
    case_id: str | None,
    run_id: str,
    packet: str,
    artifacts: str,
    config: str,
    model: str | None,
    workdir: str,
    step: str,
    base: Mapping[str, str],
    passed_on: Sequence[str] = (),
    diagnostics: str | None = None,
    endpoint: Endpoint | None = None,
    skills: str | None = None,
) -> dict[str, str]:
    """The whole environment of an agent's command.

    Paths are as the agent sees them. ``base`` is what its surroundings give (PATH, HOME, the image's and the task's variables);
    ``passed_on`` names variables of this process that the user lets through. ``diagnostics`` is where the agent may leave
    claims about its run, by default ``diagnostics.json`` among the artifacts. With an ``endpoint`` the variables that the clients of
    each API know point there; ``skills`` is the folder with the task's. Raises InputError for a name that is not set here.
    """
    places = {
        "TASK_ID": task_id,
        "CASE_ID": case_id or "",
        "RUN_ID": run_id,
        "STEP": step,
        "TASK_PACKET": packet,
        "INSTRUCTION_FILE": f"{packet}/prompt.md",
        "ARTIFACTS_DIR": artifacts,
        "WORKDIR": workdir,
        "AGENT_CONFIG": config,
        "MODEL": endpoint.model if endpoint else model or "",
        "SKILLS_DIR": skills or "",
        "DIAGNOSTICS_FILE": diagnostics or f"{artifacts}/diagnostics.json",
    }
    reached = endpoint_env(endpoint) if endpoint else {}
    return {"LANG": "C.UTF-8", "TERM": "xterm", **base, **named(passed_on), **reached, **prefixed(places)}


def endpoint_env(endpoint: Endpoint) -> dict[str, str]:
    """The variables by which the usual clients find their model and a key, for every API that is served there."""
    env: dict[str, str] = {}
    for protocol, (bases, keys) in _CLIENTS.items():
        if base := endpoint.bases.get(protocol):
            env |= dict.fromkeys(bases, base) | dict.fromkeys(keys, endpoint.key)
    return env


def named(names: Sequence[str]) -> dict[str, str]:
    """These variables of this process. Raises InputError for one that is not set."""
    for name in names:
        if name not in os.environ:
            raise InputError(
                "not set in this environment", where="--env", found=name, wanted="the name of a variable that is"
            )
    return {name: os.environ[name] for name in names}
