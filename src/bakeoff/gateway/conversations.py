"""Which requests of a trial belong to one thread of an agent, told cheaply."""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import Raw, Struct

from bakeoff.records.exchanges import Api


class _Part(Struct):
    text: str = ""


class _Said(Struct):
    role: str = "user"
    type: str = "message"
    content: str | list[Raw] | None = None
    parts: list[Raw] = []


class _Asked(Struct):
    """What all shapes of requests have in place of each other; what is not looked into stays unread."""

    messages: list[Raw] = []
    input: str | list[Raw] = []
    contents: list[Raw] = []
    tools: list[Raw] | None = None


_ASKED = msgspec.json.Decoder(_Asked)
_SAID = msgspec.json.Decoder(_Said)
_PART = msgspec.json.Decoder(_Part)
_CONVERSING = frozenset(("openai-chat", "openai-responses", "anthropic-messages", "gemini"))


def conversation_of(api: Api, body: bytes) -> str:
    """Twelve hex digits that all requests of one thread share: of the API's shape, the text of the first thing a user said, and
    whether tools are offered. Empty for what is no conversation.

    The first words stay when a thread grows, while system texts, marks of caches and lists of tools may change from turn to
    turn. Side calls about a thread (its title, a summary) offer no tools, and so stand apart.
    """
    if api not in _CONVERSING:
        return ""
    try:
        asked = _ASKED.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    first = (
        asked.input if isinstance(asked.input, str) else _first_words(asked.messages or asked.input or asked.contents)
    )
    return hashlib.sha256(f"{api}\0{bool(asked.tools)}\0{first}".encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _first_words(said: list[Raw]) -> str:
    """The text of the first message that is a user's."""
    for raw in said:
        try:
            message = _SAID.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if message.role != "user" or message.type != "message":
            continue
        if isinstance(message.content, str):
            return message.content
        return "\n".join(_text(part) for part in message.content or message.parts)
    return ""


def _text(part: Raw) -> str:
    try:
        return _PART.decode(part).text
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
