"""The scripted model as a source of answers."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import msgspec

from bakeoff.errors import InputError, nearest
from bakeoff.gateway.coding import decode
from bakeoff.gateway.scripted import play, program, script
from bakeoff.gateway.shapes.all import parse_request, render_answer, render_error
from bakeoff.gateway.shapes.base import Ask, Rendered, Turn
from bakeoff.gateway.shapes.reading import BadShape
from bakeoff.gateway.traffic import Answer, Refused, Request, Source
from bakeoff.records.results import Usage
from bakeoff.tasks.model import slug

_KINDS = (".toml", ".py")
_LONGEST = 4 << 20
_BYTES_A_TOKEN = 4
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class Scripted(Source):
    """Answers every API from a script, with nothing remembered between requests.

    ``name`` is the script's own, or its file's. ``digest`` is the sha256 of its bytes. ``path`` is the file that is played.
    """

    def __init__(self, path: Path, name: str, digest: str, reply: Callable[[Ask], play.Played], *, slow: bool) -> None:
        self.path = path
        self.name = name
        self.digest = digest
        self._reply = reply
        self._slow = slow

    @classmethod
    def load(cls, path: Path, *, task: str) -> Scripted:
        """The script for a task: ``path``, or in a folder ``<task slug>.toml`` or ``.py``.

        ``task`` is the task's name, with ``@case`` if it has one. Raises InputError for what is not there or wrong.
        """
        file = _file(path, task)
        data = _read(file)
        digest = hashlib.sha256(data).hexdigest()
        if file.suffix == ".py":
            return cls(file, file.stem, digest, _program(data, file, task), slow=True)
        played = script.for_task(script.parse(data, str(file)), task, str(file))
        return cls(file, played.name or file.stem, digest, lambda ask: play.play(played, ask), slow=False)

    async def answer(self, request: Request) -> Answer:
        """Raises Refused where the request cannot be read (the run goes on), or the script fails (it ends)."""
        try:
            ask = parse_request(request.api, request.path, decode(request.body.read(), request.headers))
        except BadShape as error:
            raise Refused(
                400, "invalid_request_error", f"the scripted model cannot read this request: {error}"
            ) from None
        rendered, delay = await self._rendered(request, ask)
        return Answer(
            status=rendered.status, headers=rendered.headers, body=_paced(rendered.chunks, delay), via="scripted"
        )

    async def close(self) -> None:
        """There is nothing to close."""

    async def _rendered(self, request: Request, ask: Ask) -> tuple[Rendered, float]:
        if request.api not in ("openai-chat", "openai-responses", "anthropic-messages", "gemini"):
            return render_answer(request.api, ask, Turn(model=request.model or self.name), seq=request.seq), 0.0
        try:
            played = await asyncio.to_thread(self._reply, ask) if self._slow else self._reply(ask)
            if played.status is not None:
                kind = _ERRORS.get(played.status, "api_error")
                return render_error(request.api, played.status, kind, played.message), played.delay_sec
            turn = msgspec.structs.replace(played.turn, usage=_usage(ask, played.turn))
            return render_answer(request.api, ask, turn, seq=request.seq), played.delay_sec
        except (play.NoTool, program.ProgramError) as error:
            raise Refused(400, "script_error", f"the script {self.path.name} fails: {error}", final=True) from None


def check_scripts(path: Path, tasks: Iterable[str]) -> None:
    """Whether there is a sound script for every task. Each file is read once. Raises InputError as ``Scripted.load`` does."""
    tables: dict[Path, script.ScriptFile | None] = {}
    for task in tasks:
        file = _file(path, task)
        if file not in tables:
            data = _read(file)
            if file.suffix == ".py":
                program.load(data, str(file))
            tables[file] = script.parse(data, str(file)) if file.suffix == ".toml" else None
        table = tables[file]
        if table is not None:
            script.for_task(table, task, str(file))


def _program(data: bytes, file: Path, task: str) -> Callable[[Ask], play.Played]:
    where = str(file)
    reply = program.load(data, where)

    def answer(ask: Ask) -> play.Played:
        question = play.Question(
            **msgspec.structs.asdict(ask), turn=play.number(ask), side=play.is_side(ask), task=task
        )
        return program.play(reply, question, where, file.stem)

    return answer


def _file(path: Path, task: str) -> Path:
    """The file of a script for a task, where ``path`` is that file or a folder of them."""
    file = _pick(path, task) if path.is_dir() else path
    if file.suffix not in _KINDS:
        raise InputError("not a script", where=str(file), found=file.suffix, wanted="a file .toml or .py, or a folder")
    return file


def _pick(folder: Path, task: str) -> Path:
    """The script of a task in a folder of them."""
    there = sorted(file for file in folder.iterdir() if file.suffix in _KINDS)
    for name in dict.fromkeys((slug(task), slug(task.partition("@")[0]))):
        found = [file for file in there if file.stem == name]
        if len(found) > 1:
            raise InputError(
                "two scripts for one task", where=str(folder), found=", ".join(file.name for file in found)
            )
        if found:
            return found[0]
    stems = [file.stem for file in there]
    listed = ", ".join(file.name for file in there) or "no script at all"
    near = nearest(slug(task), stems)
    raise InputError(
        "no script for this task",
        where=str(folder),
        found=listed,
        wanted=f"{slug(task)}.toml or {slug(task)}.py",
        nearest=near,
    )


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(_LONGEST + 1)
    except OSError as error:
        raise InputError("cannot be read", where=str(file), found=error.strerror or "", wanted="a script") from None
    if len(data) > _LONGEST:
        raise InputError("too long for a script", where=str(file), wanted=f"at most {_LONGEST >> 20} MiB")
    return data


def _usage(ask: Ask, turn: Turn) -> Usage:
    """Figures that follow from the sizes alone."""
    said = "".join((turn.text, turn.reasoning, *(call.name + call.arguments for call in turn.calls)))
    return Usage(input_tokens=-(-ask.size // _BYTES_A_TOKEN), output_tokens=-(-len(said.encode()) // _BYTES_A_TOKEN))


async def _paced(chunks: tuple[bytes, ...], delay: float) -> AsyncIterator[bytes]:
    for index, chunk in enumerate(chunks):
        if delay and index:
            await asyncio.sleep(delay)
        yield chunk
