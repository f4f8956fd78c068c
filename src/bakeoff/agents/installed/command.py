"""The command line of an installed agent, its environment and its files, from its definition and what a trial gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from msgspec import Struct

from bakeoff.agents.base import AgentContext
from bakeoff.agents.installed.bundle import machine_values
from bakeoff.agents.installed.mcp import with_servers
from bakeoff.agents.installed.model import BASES, Definition
from bakeoff.agents.installed.template import fill
from bakeoff.errors import Unsupported
from bakeoff.tasks.model import AGENT_LOGS_DIR, McpServer

HOMES_DIR = f"{AGENT_LOGS_DIR}/home"
BUNDLES_DIR = "/opt/bakeoff/agents"
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


class Rendered(Struct, frozen=True):
    """``files`` by their path, absolute."""

    argv: list[str]
    env: dict[str, str]
    stdin: str
    files: dict[str, str]


def trial_values(definition: Definition, version: str, context: AgentContext, instruction: str) -> dict[str, str]:
    """What the places of the TOML file stand for in this trial.

    Raises Unsupported where there is no model, or none of the agent's protocol.
    """
    about, endpoint = definition.agent, context.endpoint
    if endpoint is None:
        raise Unsupported(f"{about.name} needs a model: -m PROVIDER/MODEL")
    base = endpoint.bases.get(BASES[about.protocol])
    if base is None:
        spoken = ", ".join(sorted(endpoint.bases)) or "none"
        raise Unsupported(f"{about.name} speaks {about.protocol}, and the model's address is for {spoken}")
    return {
        **machine_values(version),
        **fixed(about.name),
        "workdir": context.workdir,
        "instruction": instruction,
        "instruction_file": f"{context.packet}/prompt.md",
        "model": endpoint.model,
        "provider": endpoint.provider,
        "base_url": base,
        "key": endpoint.key,
    }


def fixed(name: str) -> dict[str, str]:
    """Where the agent finds its bundle, and its home: a folder of the sandbox that nothing else uses."""
    return {"bundle": f"{BUNDLES_DIR}/{name}", "home": f"{HOMES_DIR}/{name}"}


def render(
    definition: Definition, values: Mapping[str, str], context: AgentContext, options: Mapping[str, str]
) -> Rendered:
    """All that is needed to start the agent."""
    run = definition.run
    lists = {
        "{options}": _options(definition, values, options),
        "{mcp}": _mcp_args(definition, values, context.mcp_servers),
    }
    argv = [part for text in run.command for part in lists.get(text) or _one(text, values, lists)]
    env = {**context.env, **{name: fill(text, values) for name, text in run.env.items()}}
    if context.user not in (None, "root", "0") and "HOME" not in run.env:
        env["HOME"] = values["home"]
    for name, option in definition.options.items():
        if (value := options.get(name, option.default)) is not None:
            env |= {variable: fill(text, {**values, "value": value}) for variable, text in option.env.items()}
    env |= _past_proxies(env, values["base_url"])
    files = {fill(path, values): fill(text, values) for path, text in run.files.items()}
    if context.mcp_servers:
        _add_servers(definition, values, context.mcp_servers, files)
    return Rendered(argv, env, fill(run.stdin, values), files)


def _one(text: str, values: Mapping[str, str], lists: Mapping[str, Sequence[str]]) -> list[str]:
    return [] if text in lists else [fill(text, values)]


def _options(definition: Definition, values: Mapping[str, str], options: Mapping[str, str]) -> list[str]:
    argv: list[str] = []
    for name, option in definition.options.items():
        if (value := options.get(name, option.default)) is not None:
            argv += [fill(text, {**values, "value": value}) for text in option.args]
    return argv


def _mcp_args(definition: Definition, values: Mapping[str, str], servers: Sequence[McpServer]) -> list[str]:
    return [fill(text, values) for text in definition.mcp.args] if definition.mcp and servers else []


def _add_servers(
    definition: Definition, values: Mapping[str, str], servers: Sequence[McpServer], files: dict[str, str]
) -> None:
    if definition.mcp is None:
        names = ", ".join(server.name for server in servers)
        raise Unsupported(f"{definition.agent.name} cannot be told of the task's MCP servers ({names})")
    path = fill(definition.mcp.file, values)
    files[path] = with_servers(definition.mcp.form, files.get(path, ""), servers)


def _past_proxies(env: Mapping[str, str], base_url: str) -> dict[str, str]:
    """The model's address is never asked of a proxy."""
    if not any(env.get(name) or env.get(name.upper()) for name in _PROXIES):
        return {}
    host = urlsplit(base_url).hostname or ""
    kept = env.get("no_proxy") or env.get("NO_PROXY") or ""
    hosts = ",".join(dict.fromkeys([*filter(None, kept.split(",")), "127.0.0.1", "localhost", host]))
    return {"no_proxy": hosts, "NO_PROXY": hosts}
