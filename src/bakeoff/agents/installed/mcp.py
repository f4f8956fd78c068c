"""A task's MCP servers in the form in which each agent wants to be told of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from bakeoff.agents.installed.model import McpForm
from bakeoff.agents.installed.template import quoted
from bakeoff.errors import Unsupported
from bakeoff.tasks.model import McpServer

STDIO = "stdio"
SSE = "sse"
HTTP = ("streamable-http", "http")


def with_servers(form: McpForm, text: str, servers: Sequence[McpServer]) -> str:
    """The agent's file ``text`` (empty where there is none yet) with ``servers`` added.

    Raises Unsupported for a transport that the agent does not know.
    """
    if form == "codex":
        return text + "".join(_codex(server) for server in servers)
    key, entry = _JSON[form]
    table = cast("dict[str, Any]", msgspec.json.decode(text or "{}"))
    table[key] = {**table.get(key, {}), **{server.name: entry(server) for server in servers}}
    return msgspec.json.format(msgspec.json.encode(table)).decode() + "\n"


def _codex(server: McpServer) -> str:
    lines = [f"\n[mcp_servers.{quoted(server.name)}]"]
    if server.transport == STDIO:
        lines += [f"command = {quoted(server.command)}", f"args = {quoted(server.args)}"]
        lines += [f"[mcp_servers.{quoted(server.name)}.env]"] if server.env else []
        lines += [f"{quoted(name)} = {quoted(value)}" for name, value in server.env.items()]
    elif server.transport in HTTP:
        lines.append(f"url = {quoted(server.url)}")
    else:
        raise _unknown("codex", server)
    return "\n".join(lines) + "\n"


def _claude(server: McpServer) -> dict[str, object]:
    if server.transport == STDIO:
        return _local(server)
    return {"type": "http" if server.transport in HTTP else _remote("claude-code", server), "url": server.url}


def _gemini(server: McpServer) -> dict[str, object]:
    if server.transport == STDIO:
        return {**_local(server), "trust": True}
    if server.transport in HTTP:
        return {"httpUrl": server.url, "trust": True}
    _remote("gemini-cli", server)
    return {"url": server.url, "trust": True}


def _openhands(server: McpServer) -> dict[str, object]:
    if server.transport == STDIO:
        return {**_local(server), "transport": STDIO}
    return {"transport": "http" if server.transport in HTTP else _remote("openhands", server), "url": server.url}


def _opencode(server: McpServer) -> dict[str, object]:
    if server.transport == STDIO:
        return {"type": "local", "command": [server.command, *server.args], "environment": server.env, "enabled": True}
    if server.transport not in HTTP:
        _remote("opencode", server)
    return {"type": "remote", "url": server.url, "enabled": True}


def _goose(server: McpServer) -> dict[str, object]:
    common: dict[str, object] = {
        "enabled": True,
        "name": server.name,
        "description": "",
        "timeout": 300,
        "bundled": False,
    }
    if server.transport == STDIO:
        return {**common, "type": "stdio", "cmd": server.command, "args": server.args, "envs": server.env}
    kind = "streamable_http" if server.transport in HTTP else _remote("goose", server)
    return {**common, "type": kind, "uri": server.url}


_JSON: dict[McpForm, tuple[str, Callable[[McpServer], dict[str, object]]]] = {
    "claude": ("mcpServers", _claude),
    "gemini": ("mcpServers", _gemini),
    "openhands": ("mcpServers", _openhands),
    "opencode": ("mcp", _opencode),
    "goose": ("extensions", _goose),
}


def _local(server: McpServer) -> dict[str, object]:
    return {"command": server.command, "args": server.args, "env": server.env}


def _remote(agent: str, server: McpServer) -> str:
    if server.transport != SSE:
        raise _unknown(agent, server)
    return SSE


def _unknown(agent: str, server: McpServer) -> Unsupported:
    return Unsupported(
        f"{agent} cannot reach the MCP server {server.name!r}: it does not know the transport {server.transport!r}"
    )
