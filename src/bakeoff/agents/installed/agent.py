"""An installed agent in a sandbox: its bundle is shown there, its files are laid, and it is run as the task's user."""

from __future__ import annotations

import asyncio
import posixpath
import shlex
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from bakeoff.agents.base import AgentClaim, AgentContext, Needs
from bakeoff.agents.installed import bundle
from bakeoff.agents.installed.command import BUNDLES_DIR, HOMES_DIR, Rendered, fixed, render, trial_values
from bakeoff.agents.installed.load import VERSION, check_version
from bakeoff.agents.installed.model import Definition
from bakeoff.agents.installed.template import fill
from bakeoff.agents.request import check_no_command, check_options, digest_of
from bakeoff.errors import InputError, SandboxError, Unsupported, nearest
from bakeoff.files import tar
from bakeoff.files.pack import TooMuch
from bakeoff.files.streams import last_line
from bakeoff.files.tar import TarError
from bakeoff.files.tree import pack_folder, unpack_stream
from bakeoff.records.job import AgentRequest
from bakeoff.sandboxes.base import Mount, tar_bytes
from bakeoff.sandboxes.logged import describe_exit, run_logged

FILES = "files"
"""The folder of the trial's logs that holds what ``[logs] paths`` names."""

_LOGS_LIMIT = 64 << 20  # bytes of each path of [logs]
_LOGS_WITHIN = 10.0  # seconds for all of them: the agent has ended, and others wait
_SKILLS_LIMIT = 64 << 20

_TOLD = """

Skills for this task are in {folder}: each folder there has a SKILL.md that says what it is for. Read those that can help.
"""


class InstalledAgent:
    """Runs an agent that others wrote, as its TOML file describes it, with a model."""

    def __init__(self, definition: Definition, request: AgentRequest) -> None:
        self._definition = definition
        self._options = _checked_options(definition, request)
        self.name = definition.agent.name
        self.version = request.options.get(VERSION, definition.agent.version)
        self.command = shlex.join(definition.run.command)
        state = bundle.bundle_state(definition, self.version)
        content = state.stamp.content if state.stamp else "not installed yet"
        parts = (definition.run, definition.options, definition.skills, definition.mcp, definition.agent.protocol)
        self.digest = digest_of(
            "installed", self.name, self.version, parts, bundle.bundle_key(definition, self.version), content
        )
        self.digest = digest_of(self.digest, dict(sorted(self._options.items())))
        self.needs = Needs(
            mounts=(Mount(source=str(state.path), target=f"{BUNDLES_DIR}/{self.name}"),),
            model=True,
            default_model=definition.models.default,
        )
        self._state = state

    @classmethod
    def create(cls, definition: Definition, request: AgentRequest) -> InstalledAgent:
        """Installs nothing. Raises InputError for an option that the agent does not have, or a value that it cannot have."""
        check_no_command(request)
        return cls(definition, request)

    def prepare(self, note: Callable[[str], None]) -> None:
        """Install the agent, unless that has been done. Its digest covers what came: make the agent anew. Raises InputError."""
        bundle.prepare(self._definition, self.version, note)

    async def run(self, context: AgentContext) -> AgentClaim:
        """Run the agent on the instruction. Raises Unsupported where it cannot do what the task wants, or has no model."""
        if self._state.stamp is None:
            raise Unsupported(f"{self.name} {self.version} is not installed: {self._state.path}")
        await self._check_root(context, self._state.stamp.loaders)
        instruction = context.instruction
        if context.skills is not None and self._definition.skills is None:
            instruction = instruction.rstrip("\n") + _TOLD.format(folder=context.skills)
        values = trial_values(self._definition, self.version, context, instruction)
        rendered = render(self._definition, values, context, self._options)
        await context.sandbox.put(tar_bytes(_home(self.name, rendered.files)), HOMES_DIR, fresh=True)
        await self._lay_skills(context, values)
        try:
            return await self._run(context, rendered)
        finally:
            with suppress(TimeoutError, SandboxError, OSError, TarError):
                async with asyncio.timeout(_LOGS_WITHIN):
                    await self._keep_logs(context, values)

    async def _check_root(self, context: AgentContext, groups: tuple[tuple[str, ...], ...]) -> None:
        """Raises Unsupported where the root has none of the loaders that the agent's own program needs."""
        for loaders in groups:
            line = " || ".join(f"[ -e {shlex.quote(path)} ]" for path in loaders)
            process = await context.sandbox.start(["/bin/sh", "-c", line], env={}, cwd="/")
            if (await process.wait()).code != 0:
                raise Unsupported(f"{self.name} {self.version} needs one of these in the root: {', '.join(loaders)}")

    async def _run(self, context: AgentContext, rendered: Rendered) -> AgentClaim:
        stderr = context.logs / "stderr"
        logged = await run_logged(
            await context.sandbox.start(rendered.argv, env=rendered.env, cwd=context.workdir, user=context.user),
            stdout=context.logs / "stdout",
            stderr=stderr,
            limit=context.output_limit,
            stdin=rendered.stdin.encode(),
        )
        error = "" if logged.exit.code == 0 else describe_exit(logged.exit)
        said = last_line(stderr) if error else ""
        return AgentClaim(exit=logged.exit, error=": ".join(filter(None, (error, said))), truncated=logged.truncated)

    async def _lay_skills(self, context: AgentContext, values: Mapping[str, str]) -> None:
        """The task's skills where the agent looks for them. They pass through this machine: the root may have no program that copies."""
        if context.skills is None or self._definition.skills is None:
            return
        folder = fill(self._definition.skills.folder, values)
        if posixpath.normpath(folder) == posixpath.normpath(context.skills):
            return
        with tempfile.TemporaryDirectory() as place:
            kept = Path(place) / "skills"
            kept.mkdir()
            try:
                await unpack_stream(context.sandbox.get(context.skills, max_bytes=_SKILLS_LIMIT), kept, strip=1)
                await context.sandbox.put(pack_folder(kept, max_bytes=_SKILLS_LIMIT), folder)
            except FileNotFoundError:
                raise Unsupported(f"the task's skills are not where it says: {context.skills}") from None
            except (TarError, TooMuch) as error:
                raise Unsupported(f"the task's skills in {context.skills} cannot be copied: {error}") from None

    async def _keep_logs(self, context: AgentContext, values: Mapping[str, str]) -> None:
        for path in self._definition.logs.paths:
            inside = fill(path, values)
            name = posixpath.basename(inside.rstrip("/"))
            with suppress(FileNotFoundError):
                stream = context.sandbox.get(inside, max_bytes=_LOGS_LIMIT)
                await unpack_stream(stream, context.logs / FILES / name, strip=1)


def _checked_options(definition: Definition, request: AgentRequest) -> dict[str, str]:
    check_options(request, (VERSION, *definition.options))
    chosen = {name: value for name, value in request.options.items() if name != VERSION}
    version = request.options.get(VERSION)
    if version is not None and not check_version(version):
        raise InputError("not a version", where="--agent-option", field=VERSION, found=repr(version))
    for name, value in chosen.items():
        allowed = definition.options[name].values
        if (allowed and value not in allowed) or "\0" in value:
            raise InputError(
                "wrong value",
                where="--agent-option",
                field=name,
                found=repr(value),
                wanted=", ".join(allowed) or "a text",
                nearest=nearest(value, allowed),
            )
    return chosen


def _home(name: str, files: Mapping[str, str]) -> bytes:
    """A tar of the agent's home, to be unpacked in the folder of homes. Whichever user the agent runs as may write there."""
    top = fixed(name)["home"]
    folders = {f"{name}/"}
    members: list[tuple[tar.Member, bytes]] = []
    for path, text in files.items():
        inside = f"{name}/{posixpath.relpath(path, top)}"
        parts = inside.split("/")
        folders |= {"/".join(parts[:end]) + "/" for end in range(1, len(parts))}
        data = text.encode()
        members.append((tar.Member(name=inside.encode(), mode=0o666, size=len(data)), data))
    made = [(tar.Member(name=folder.encode(), kind=tar.FOLDER, mode=0o777), b"") for folder in sorted(folders)]
    return tar.build([*made, *members])
