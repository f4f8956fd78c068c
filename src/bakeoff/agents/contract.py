"""The environment that every agent finds: where things are, under two prefixes, and nothing of the harness's own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from bakeoff.errors import InputError
from bakeoff.images.root import DEFAULT_PATH as DEFAULT_PATH

PREFIXES = ("BAKEOFF_", "AGENT_BENCH_")


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
) -> dict[str, str]:
    """The whole environment of an agent's command.

    Paths are as the agent sees them. ``base`` is what its surroundings give (PATH, HOME, the image's and the task's variables);
    ``passed_on`` names variables of this process that the user lets through. ``diagnostics`` is where the agent may leave
    claims about its run, by default ``diagnostics.json`` among the artifacts. Raises InputError for a name that is not set here.
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
        "MODEL": model or "",
        "DIAGNOSTICS_FILE": diagnostics or f"{artifacts}/diagnostics.json",
    }
    return {"LANG": "C.UTF-8", "TERM": "xterm", **base, **named(passed_on), **prefixed(places)}


def named(names: Sequence[str]) -> dict[str, str]:
    """These variables of this process. Raises InputError for one that is not set."""
    for name in names:
        if name not in os.environ:
            raise InputError(
                "not set in this environment", where="--env", found=name, wanted="the name of a variable that is"
            )
    return {name: os.environ[name] for name in names}
