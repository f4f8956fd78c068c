"""What a request asks, as keys that can be compared: of the whole, of everything but its messages, and of each message."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any, Protocol, cast
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec import Struct

from bakeoff.gateway.replay.declared import NOTHING, Volatile
from bakeoff.gateway.replay.normalise import NUMBERED, normalise
from bakeoff.gateway.replay.roots import CLOSE, OPEN, Roots, replacer
from bakeoff.gateway.replay.rules import Rule, rules_for
from bakeoff.records.exchanges import Api

MESSAGES = {
    "openai-chat": "messages",
    "openai-responses": "input",
    "anthropic-messages": "messages",
    "anthropic-count": "messages",
    "gemini": "contents",
}
"""The field of a body that holds the conversation."""

REMEMBERED = 32 << 20
"""Bytes of messages, tools and instructions that are remembered: agents send them again at every turn."""

_STREAM = ":streamGenerateContent"
_TABLE = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])


class Asked(Struct, frozen=True):
    """``key`` is equal for requests that ask the same. ``head`` is of all but the messages, ``messages`` has a digest for each.

    ``stream`` says how the answer is wanted, ``tools`` whether any are offered.
    """

    key: bytes
    head: bytes
    messages: tuple[bytes, ...] = ()
    stream: bool = False
    tools: bool = False


class _Piece(Struct, frozen=True):
    """A part of a body: the digest of what is left of it, and the ids that were taken out of it."""

    digest: bytes
    ids: tuple[str, ...]


class Reads(Protocol):
    """What reads requests so that they can be compared."""

    def read(self, api: Api, method: str, path: str, body: bytes) -> Asked:
        """The keys of a request."""
        ...

    def readable(self, api: Api, body: bytes) -> Any:
        """A body as it is compared, for people."""
        ...

    def redacting(self, redact: Callable[[bytes], bytes]) -> Reads:
        """The same for requests from which something is to be taken out first."""
        ...


class Reader:
    """Reads the requests of one agent. The same request always gets the same keys; what was read before is remembered."""

    def __init__(self, volatile: Volatile, roots: Roots) -> None:
        self._top = rules_for(volatile)
        self._replace = replacer(roots)
        self._redact: Callable[[bytes], bytes] | None = None
        self._known: dict[tuple[Rule | None, bytes], _Piece] = {}
        self._size = 0

    def redacting(self, redact: Callable[[bytes], bytes]) -> Reader:
        """A reader that applies ``redact`` to every part of a body, as a recorder does to what it stores."""
        reader = Reader(NOTHING, {})
        reader._top, reader._replace, reader._redact = self._top, self._replace, redact
        return reader

    def read(self, api: Api, method: str, path: str, body: bytes) -> Asked:
        """The keys of a request. Bodies that are no JSON objects are compared as they are, but for redaction."""
        place = _place(api, method, path)
        fields = _fields(body)
        if fields is None:
            return Asked(key=_digest(place, self._redacted(body)), head=_digest(place))
        listed = MESSAGES.get(api, "")
        numbers: dict[str, int] = {}
        head = [place]
        for name in sorted(fields):
            rule = self._top.fields.get(name)
            if name != listed and not (rule and rule.drop):
                piece = self._piece(rule, fields[name])
                head += [name.encode("utf-8", "surrogatepass"), _numbered(piece, numbers)]
        messages = tuple(_numbered(piece, numbers) for piece in self._messages(listed, fields))
        digest = _digest(*head)
        return Asked(
            key=_digest(digest, *messages),
            head=digest,
            messages=messages,
            stream=_STREAM in path or fields.get("stream") == b"true",
            tools=len(fields.get("tools", b"")) > len(b"null"),
        )

    def readable(self, api: Api, body: bytes) -> Any:
        """A body as it is compared, for people: tokens as ``<name>``, ids numbered; text where it is no JSON object."""
        body = self._redacted(body)
        value = _load(body)
        if isinstance(value, dict):
            with suppress(RecursionError):
                return self._shown(api, cast("dict[str, Any]", value))
        return body.decode(errors="replace")

    def _shown(self, api: Api, table: dict[str, Any]) -> dict[str, Any]:
        listed = MESSAGES.get(api, "")
        numbers: dict[str, int] = {}
        out: dict[str, Any] = {}
        for name in [*sorted(table.keys() - {listed}), *({listed} & table.keys())]:
            rule = self._top.fields.get(name)
            if not (rule and rule.drop):
                ids: list[str] = []
                plain = normalise(table[name], rule, self._replace, ids)
                out[name] = _shown(plain, iter([numbers.setdefault(one, len(numbers) + 1) for one in ids]))
        return out

    def _messages(self, listed: str, fields: dict[str, bytes]) -> list[_Piece]:
        if listed not in fields:
            return []
        rule = self._top.fields.get(listed)
        items = _items(fields[listed])
        if items is None:
            return [self._piece(rule, fields[listed])]
        return [self._piece(rule.items if rule else None, item) for item in items]

    def _piece(self, rule: Rule | None, raw: bytes) -> _Piece:
        known = self._known.get((rule, raw))
        if known is not None:
            return known
        ids: list[str] = []
        plain = self._redacted(raw)
        try:
            left = _dump(normalise(_load(plain), rule, self._replace, ids))
        except RecursionError:
            left, ids = plain, []  # nested too deep to be walked: compared byte for byte
        piece = _Piece(_digest(left), tuple(ids))
        self._size += len(raw)
        if self._size > REMEMBERED:
            self._known.clear()
            self._size = len(raw)
        self._known[(rule, raw)] = piece
        return piece

    def _redacted(self, raw: bytes) -> bytes:
        return self._redact(raw) if self._redact else raw


def strict_key(api: Api, method: str, path: str, body: bytes) -> bytes:
    """Equal for requests that are equal byte for byte."""
    return _digest(api.encode(), method.encode(), path.encode("utf-8", "surrogatepass"), body)


def _place(api: Api, method: str, path: str) -> bytes:
    """What the path says of a request: the API stands for it where there is one; a key in it and how the answer is wanted do not count."""
    if api in ("openai-chat", "openai-responses", "openai-embeddings", "anthropic-messages", "anthropic-count"):
        return api.encode()
    plain, _, query = path.partition("?")
    if api == "gemini":
        return f"{api} {plain.rsplit('/', 1)[-1].partition(':')[0]}".encode("utf-8", "surrogatepass")
    asked = urlencode([(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name != "key"])
    return f"{api} {method} {plain} {asked}".encode("utf-8", "surrogatepass")


def _numbered(piece: _Piece, numbers: dict[str, int]) -> bytes:
    """The piece's digest with its ids told by the order in which the request first names them."""
    if not piece.ids:
        return piece.digest
    order = ",".join(str(numbers.setdefault(one, len(numbers))) for one in piece.ids)
    return _digest(piece.digest, order.encode())


def _digest(*parts: bytes) -> bytes:
    digest = sha256()
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()[:16]


def _fields(body: bytes) -> dict[str, bytes] | None:
    """The values of a JSON object, unread; None for anything else."""
    try:
        return {name: bytes(raw) for name, raw in _TABLE.decode(body).items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = _load(body)
    if not isinstance(value, dict):
        return None
    return {name: json.dumps(item).encode() for name, item in cast("dict[str, Any]", value).items()}


def _items(raw: bytes) -> list[bytes] | None:
    """The items of a JSON array, unread; None for anything else."""
    try:
        return [bytes(item) for item in _LIST.decode(raw)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = _load(raw)
    return [json.dumps(item).encode() for item in cast("list[Any]", value)] if isinstance(value, list) else None


def _load(raw: bytes) -> Any:
    """The value; text for what is no JSON, byte for byte. Lone surrogates, which scripts cut text into, are JSON."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return raw.decode(errors="surrogateescape")


def _dump(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (UnicodeEncodeError, OverflowError, RecursionError):
        return repr(value).encode("utf-8", "surrogatepass")


def _shown(value: Any, numbers: Any) -> Any:
    """A normalised value with its tokens in readable form."""
    if isinstance(value, str):
        while NUMBERED in value:
            value = value.replace(NUMBERED, f"<id {next(numbers)}>", 1)
        return value.replace(OPEN, "<").replace(CLOSE, ">")
    if isinstance(value, dict):
        return {name: _shown(item, numbers) for name, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_shown(item, numbers) for item in cast("list[Any]", value)]
    return value
