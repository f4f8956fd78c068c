"""Configs: one agent with one model and their options, and what they are called."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from bakeoff.agents.registry import make_agent
from bakeoff.errors import InputError
from bakeoff.gateway.models import parse_model, script_digest
from bakeoff.gateway.providers import providers
from bakeoff.records.job import AgentRequest, LockedConfig
from bakeoff.records.results import Config
from bakeoff.tasks.model import slug

SKILLS_OFF = "no-skills"


def plan_configs(
    agents: Sequence[AgentRequest],
    models: Sequence[str],
    *,
    skills: str | None = None,
    options: Mapping[str, str] | None = None,
    base_url: str | None = None,
) -> dict[str, LockedConfig]:
    """Every agent with every model, by slug. Making each agent once here finds what is wrong with it before anything runs.

    ``options`` are the models', ``skills`` is ``"off"`` where tasks keep theirs to themselves.
    """
    if not agents:
        raise InputError("no agent", wanted="-a NAME, or --agent-cmd COMMAND")
    configs: dict[str, LockedConfig] = {}
    for request in agents:
        for model in models or (None,):
            config = lock_config(request, model, skills=skills, options=options or {}, base_url=base_url)
            name = config.config.slug
            if name in configs:
                raise InputError(
                    "two configs have one name", where="--agent", found=name, wanted="--agent-name to tell them apart"
                )
            configs[name] = config
    return configs


def lock_config(
    request: AgentRequest,
    model: str | None,
    *,
    label: str | None = None,
    skills: str | None = None,
    options: Mapping[str, str],
    base_url: str | None = None,
) -> LockedConfig:
    """``model`` is as ``-m`` has it; an agent that cannot do without one has its default where none is given, if it has one.
    ``label`` is how the model of a recording was called, which nothing is asked of now. Raises InputError.
    """
    agent = make_agent(request)
    digest = ""
    if model is None and label is None and agent.needs.model:
        model = agent.needs.default_model or None
        if model is None:
            raise InputError(
                f"{agent.name} needs a model", where="--agent", wanted="-m PROVIDER/MODEL, or -m scripted:FILE"
            )
    if model is not None:
        ref = parse_model(model, providers(), base_url=base_url)
        label, digest = ref.label, script_digest(ref)
    config = Config(
        agent=agent.name,
        agent_version=agent.version,
        model=label,
        options=request.options,
        skills="off" if skills == "off" else None,
        slug=config_slug(
            agent.name, label, {**request.options, **{f"model.{k}": v for k, v in options.items()}}, skills
        ),
    )
    return LockedConfig(config=config, agent=request, digest=agent.digest, model=model, model_digest=digest)


def config_slug(agent: str, model: str | None, options: Mapping[str, str], skills: str | None = None) -> str:
    """How a config is called in paths: agent, model, skills where they are off, and a short hash of options where there are any."""
    parts = [slug(agent)]
    if model is not None:
        parts.append(slug(model))
    if skills == "off":
        parts.append(SKILLS_OFF)
    if options:
        parts.append(hashlib.sha256(repr(sorted(options.items())).encode()).hexdigest()[:8])
    return "+".join(parts)
