"""Requests and answers of model APIs in one neutral form. Nothing here is exact to the byte: the recorded bytes are."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from bakeoff.records.exchanges import Api, Headers
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
    """A tool on offer. ``kind`` is ``function``, or the API's own word for another kind. A tool in a namespace is ``namespace.name``."""

    name: str
    description: str = ""
    schema: dict[str, Any] = {}
    kind: str = "function"


class Ask(Struct, frozen=True, kw_only=True):
    """What a request asks: system texts come first among ``messages``, but for those that an agent put between them.

    What a model answered at once is one message, into however many items an API divides it. ``path`` is the request's, with its
    query. ``include_usage``: a stream of chat completions is to tell its usage. ``size`` is the body's, in bytes, uncompressed.
    """

    api: Api
    model: str | None
    messages: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()
    stream: bool = False
    path: str = ""
    include_usage: bool = False
    size: int = 0


class Turn(Struct, frozen=True, kw_only=True):
    """What a model answered. Input tokens of ``usage`` count those that came from a cache too, in every API."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()
    stop: Literal["end", "tool", "length", "refusal", "other"] = "end"
    model: str | None = None
    id: str | None = None
    usage: Usage = Usage()


class Rendered(Struct, frozen=True):
    """An answer as an API's clients want it; ``chunks`` joined are its body."""

    status: int
    headers: Headers
    chunks: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)
