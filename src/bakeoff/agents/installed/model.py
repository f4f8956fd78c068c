"""The form of an agent's TOML file."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Struct

Text = Annotated[str, msgspec.Meta(min_length=1)]
Runtime = Literal["binary", "node", "python"]
Protocol = Literal["openai-responses", "openai-chat", "anthropic", "gemini"]
McpForm = Literal["codex", "claude", "gemini", "opencode", "goose", "openhands"]

BASES: dict[Protocol, str] = {
    "openai-responses": "openai",
    "openai-chat": "openai",
    "anthropic": "anthropic",
    "gemini": "gemini",
}
"""The key of ``Endpoint.bases`` for each protocol."""


class About(Struct, frozen=True):
    """``version`` is the one that is run unless another is asked for. ``verified_on``: the day on which that version was run for real.

    ``unverified`` says why none was.
    """

    name: Text
    version: Text
    runtime: Runtime
    protocol: Protocol
    description: str = ""
    homepage: str = ""
    verified: bool = False
    verified_on: str = ""
    unverified: str = ""


class Install(Struct, frozen=True):
    """What is brought into the bundle.

    ``npm`` lands in ``npm/node_modules``, ``pip`` in the bundle's Python, ``apt`` in ``apt``. ``exact``: the packages of pip are
    all that is needed, and nothing that they depend on is added. ``steps`` are command lines for ``sh`` on this machine, run
    in the folder of the bundle. ``drop`` are patterns of paths in the bundle that are not needed. ``programs`` are commands in
    ``bin``: for each the candidates, of which the first runs whose loader the sandbox has. ``node`` is the version of the
    runtime that node agents get.
    """

    npm: tuple[Text, ...] = ()
    pip: tuple[Text, ...] = ()
    exact: bool = False
    apt: tuple[Text, ...] = ()
    steps: tuple[Text, ...] = ()
    drop: tuple[Text, ...] = ()
    programs: dict[str, tuple[Text, ...]] = {}
    node: str = ""


class Run(Struct, frozen=True):
    """``command`` is a list of arguments; ``{options}`` and ``{mcp}`` alone in one of them stand for several or none.

    ``files`` are written before the start: the path, which begins with ``{home}``, and the text. ``stdin`` is what the command
    reads; without it, its input is closed.
    """

    command: tuple[Text, ...]
    env: dict[str, str] = {}
    stdin: str = ""
    files: dict[str, str] = {}


class Option(Struct, frozen=True):
    """Something that --agent-option sets. ``args`` stand for ``{options}`` and ``env`` is added where it has a value.

    ``{value}`` is that value. ``values`` are the ones allowed, all if there are none.
    """

    description: str = ""
    values: tuple[str, ...] = ()
    default: str | None = None
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}


class Skills(Struct, frozen=True):
    """``folder`` is where the agent looks for skills, each a folder with a ``SKILL.md``."""

    folder: Text


class Mcp(Struct, frozen=True):
    """How the agent is told of MCP servers. ``file`` gets them, beside what ``files`` writes there; ``args`` stand for ``{mcp}``."""

    form: McpForm
    file: Text
    args: tuple[str, ...] = ()


class Logs(Struct, frozen=True):
    """Files and folders of the sandbox that are kept with the trial."""

    paths: tuple[Text, ...] = ()


class Models(Struct, frozen=True):
    """``default`` is the model (``provider/name``) where none is asked for."""

    default: str = ""


class Definition(Struct, frozen=True):
    """An agent as its TOML file has it."""

    agent: About
    install: Install
    run: Run
    options: dict[str, Option] = {}
    skills: Skills | None = None
    mcp: Mcp | None = None
    logs: Logs = Logs()
    models: Models = Models()
