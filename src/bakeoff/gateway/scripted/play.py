"""Which turn of a script answers a request, decided by the request alone."""

from __future__ import annotations

import re
from itertools import takewhile

from msgspec import Struct

from bakeoff.gateway.scripted import shells
from bakeoff.gateway.scripted.script import Script, TurnTable
from bakeoff.gateway.shapes.base import Ask, Call, Message, Tool, Turn
from bakeoff.gateway.shapes.parts import joined
from bakeoff.gateway.shapes.reading import dump, table

STOPPED = "The script stops here: "
"""How the answer begins that ends a run because what came is not what the script expects."""

_OURS = re.compile(r"call_(\d+)_\d+")
_GREETINGS = ("Got it. Thanks for the context!",)
"""What agents put into the mouth of the model before it has said anything: gemini-cli and qwen-code."""

_SUBMIT = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
_LONGEST = 400


class NoTool(Exception):
    """A turn cannot be played with the tools on offer. ``str()`` says why."""


class Played(Struct, frozen=True, kw_only=True):
    """What a request is answered with: a turn, or an HTTP error where ``status`` is set."""

    turn: Turn = Turn()
    status: int | None = None
    message: str = ""
    delay_sec: float = 0.0


class Question(Ask, frozen=True, kw_only=True):
    """A request as a program sees it: ``turn`` is the number of the answers before it, from 0. ``side``: it offers no tools,
    so most likely it is not the agent's conversation but asks for a title or a summary."""

    turn: int
    side: bool
    task: str


def number(ask: Ask) -> int:
    """How many answers stand in the conversation. Calls of one turn count once, even where results stand between them."""
    count, last = 0, ""
    for message in ask.messages:
        if message.role != "assistant" or (message.text.strip() in _GREETINGS and not message.calls):
            continue
        found = _OURS.fullmatch(message.calls[0].id) if message.calls else None
        if found is None or found[1] != last:
            count += 1
        last = found[1] if found else ""
    return count


def is_side(ask: Ask) -> bool:
    """Whether no tool is on offer that the agent runs itself."""
    return not any(tool.kind in ("function", "custom", "local_shell") for tool in ask.tools)


def play(script: Script, ask: Ask) -> Played:
    """The answer of a script. Raises NoTool."""
    if is_side(ask) and script.calls:
        return side(script.name)
    at = number(ask)
    if fault := stopped(ask):
        return Played(turn=ending(ask, fault, at))
    if at >= len(script.turns):
        return Played(turn=ending(ask, script.final, at))
    return perform(script.turns[at], ask, at)


def stopped(ask: Ask) -> str:
    """Why the run was to end already, though the agent went on; empty where it was not."""
    said = (message.text for message in ask.messages if message.role == "assistant")
    return next((text for text in said if text.startswith(STOPPED)), "")


def perform(wanted: TurnTable, ask: Ask, at: int) -> Played:
    """One turn as the answer to a request that has ``at`` answers before it. Raises NoTool."""
    if fault := _unexpected(wanted, ask):
        return Played(turn=ending(ask, fault, at))
    if wanted.status is not None:
        return Played(
            status=wanted.status, message=wanted.message or "an error of the script", delay_sec=wanted.delay_sec
        )
    calls = [*([_shell_call(ask.tools, wanted.shell)] if wanted.shell is not None else [])]
    calls += [(call.name, dump(call.arguments)) for call in wanted.tool_calls]
    turn = Turn(text=wanted.text, reasoning=wanted.reasoning, calls=_numbered(calls, at))
    return Played(turn=turn, delay_sec=wanted.delay_sec)


def side(name: str) -> Played:
    """The answer to what is not the agent's conversation."""
    return Played(turn=Turn(text=name or "A scripted answer"))


def ending(ask: Ask, text: str, at: int) -> Turn:
    """An answer after which the agent ends, by a call where that is how it does."""
    names = {tool.name: tool for tool in ask.tools}
    if "bash" in names and any(_SUBMIT in message.text for message in ask.messages if message.role != "assistant"):
        return Turn(text=text, calls=_numbered([_shell_call((names["bash"],), f"echo {_SUBMIT}")], at))
    finish = names.get("finish")
    if finish is not None and "message" in table(finish.schema.get("properties")):
        return Turn(text=text, calls=_numbered([("finish", dump({"message": text}))], at))
    return Turn(text=text)


def _shell_call(tools: tuple[Tool, ...], command: str) -> tuple[str, str]:
    found = shells.find(tools)
    if found is None:
        names = ", ".join(tool.name for tool in tools) or "none"
        raise NoTool(
            f"no tool that runs a command is on offer: call one by its name with tool_calls (there are: {names})"
        )
    tool, shell = found
    return tool.name, shells.arguments(tool, shell, command)


def _numbered(calls: list[tuple[str, str]], at: int) -> tuple[Call, ...]:
    """The calls with ids that tell their turn, so that ``number`` knows them again."""
    return tuple(Call(f"call_{at + 1:03}_{index + 1}", *call) for index, call in enumerate(calls))


def _unexpected(wanted: TurnTable, ask: Ask) -> str:
    """Why the run is to end here; empty where it is not."""
    if wanted.expect is None:
        return ""
    what, came = latest(ask)
    if re.search(wanted.expect, came, re.MULTILINE):
        return ""
    shown = came if len(came) <= _LONGEST else came[:_LONGEST] + "…"
    return f"{STOPPED}{what} does not contain /{wanted.expect}/. It is:\n{shown}"


def latest(ask: Ask) -> tuple[str, str]:
    """What came since the last answer, in a word and in full: the results of calls, or else what the user says."""
    after: list[Message] = list(takewhile(lambda message: message.role != "assistant", reversed(ask.messages)))
    for role, what in (("tool", "the last tool result"), ("user", "the instruction")):
        texts = [message.text for message in reversed(after) if message.role == role]
        if texts:
            return what, joined(texts)
    return "the request", ""
