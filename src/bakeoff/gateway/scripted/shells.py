"""Which of the tools that an agent offers runs a command, and how it wants to be called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from msgspec import Struct

from bakeoff.gateway.shapes.base import Tool
from bakeoff.gateway.shapes.reading import dump, items, string, table

_ABOUT = "Run a command of the script"
_MINUTES_MS = 600_000


class Shell(Struct, frozen=True):
    """A tool known to run commands: its name, the field that takes the command, and what else it is told where it has such a field."""

    tool: str
    field: str
    more: Mapping[str, object] = {}


KNOWN = (
    # codex: without the rest a login shell resets PATH, and a command of 10 s is answered before its end.
    Shell("exec_command", "cmd", {"login": False, "yield_time_ms": 30_000}),
    Shell("shell_command", "command", {"login": False, "timeout_ms": _MINUTES_MS}),
    Shell("local_shell", "command"),
    # claude-code ends a command after two minutes unless told otherwise.
    Shell("Bash", "command", {"description": _ABOUT, "timeout": _MINUTES_MS}),
    Shell("bash", "command", {"description": _ABOUT, "timeout": _MINUTES_MS}),  # mini-swe-agent, opencode
    Shell("run_shell_command", "command", {"description": _ABOUT, "is_background": False}),  # gemini-cli, qwen-code
    Shell("developer__shell", "command"),  # goose
    Shell("execute_bash", "command"),  # openhands
    Shell("terminal", "command"),
    Shell("shell", "command"),
)
"""Tried in this order; then any tool with a field of these names."""

_FIELDS = ("cmd", "command")


def find(tools: Iterable[Tool]) -> tuple[Tool, Shell] | None:
    """The tool that runs a command, if there is one on offer."""
    offered = [tool for tool in tools if tool.kind in ("function", "local_shell")]
    by_name = {tool.name: tool for tool in offered}
    for shell in KNOWN:
        tool = by_name.get(shell.tool)
        if tool is not None and (tool.kind == "local_shell" or _form(tool, shell.field)):
            return tool, shell
    for tool in offered:
        for field in _FIELDS:
            if _form(tool, field):
                return tool, Shell(tool.name, field)
    return None


def arguments(tool: Tool, shell: Shell, command: str) -> str:
    """The arguments that make the tool run ``command``, as JSON."""
    argv = ["sh", "-c", command]
    if tool.kind == "local_shell":
        return dump({"type": "exec", "command": argv, "env": {}})
    fields = table(tool.schema.get("properties"))
    filled: dict[str, object] = {
        name: _filler(table(fields.get(name))) for name in items(tool.schema.get("required")) if isinstance(name, str)
    }
    filled.update({name: value for name, value in shell.more.items() if name in fields})
    filled[shell.field] = argv if _form(tool, shell.field) == "array" else command
    return dump(filled)


def _form(tool: Tool, field: str) -> str:
    """``string`` or ``array``, as a field of the tool wants it; empty where it has no such field, or one of another kind."""
    wanted = table(table(tool.schema.get("properties")).get(field))
    kinds = _types(wanted)
    return next((kind for kind in ("string", "array") if kind in kinds), "")


def _types(schema: dict[str, Any]) -> list[str]:
    """The JSON types that a schema lets through, in lower case: Gemini's are in capitals."""
    options = [schema, *(table(item) for key in ("anyOf", "oneOf") for item in items(schema.get(key)))]
    named = [kind for option in options for kind in (items(option.get("type")) or [option.get("type")])]
    return [string(kind).lower() for kind in named]


def _filler(schema: dict[str, Any]) -> object:
    """Something that a required field takes, where nothing is known of it."""
    choices = items(schema.get("enum"))
    for value in (schema.get("default"), choices[0] if choices else None, schema.get("minimum")):
        if value is not None:
            return cast("object", value)
    empty: dict[str, object] = {"boolean": False, "integer": 60, "number": 60, "array": [], "object": {}}
    return next((empty[kind] for kind in _types(schema) if kind in empty), _ABOUT)
