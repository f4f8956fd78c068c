"""Requests and answers of model APIs in one neutral form. Nothing here is exact to the byte: the recorded bytes are."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from bakeoff.records.exchanges import Api
from bakeoff.records.results import Usage


class Call(Struct, frozen=True):
    """A tool call. ``arguments`` is the text as it stands in the API: JSON, where the model got it right."""

    id: str
    name: str
    arguments: str


class Message(Struct, frozen=True):
    """One message of a conversation. ``call_id`` is set for the result of a tool call (role ``tool``), whose text is the result."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()
    call_id: str | None = None


class Tool(Struct, frozen=True):
    name: str
    description: str = ""
    schema: dict[str, Any] = {}
    kind: str = "function"


class Ask(Struct, frozen=True, kw_only=True):
    """What a request asks: system texts come first among ``messages``."""

    api: Api
    model: str | None
    messages: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()
    stream: bool = False


class Turn(Struct, frozen=True, kw_only=True):
    """What a model answered."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()
    stop: Literal["end", "tool", "length", "refusal", "other"] = "end"
    model: str | None = None
    id: str | None = None
    usage: Usage = Usage()
