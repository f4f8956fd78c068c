"""Requests by what is said in them, whichever API they go through: for recordings that have no raw bytes."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec

from bakeoff.gateway.replay.asked import Asked, Reader
from bakeoff.gateway.replay.declared import Volatile
from bakeoff.gateway.replay.normalise import left_out
from bakeoff.gateway.replay.recorded import CONVERSATIONS, Recording
from bakeoff.gateway.replay.roots import CLOSE, OPEN, Roots, replacer
from bakeoff.gateway.shapes.all import parse_request
from bakeoff.gateway.shapes.base import Ask
from bakeoff.gateway.shapes.neutral import neutral
from bakeoff.gateway.shapes.reading import BadShape
from bakeoff.records.exchanges import Api

_HEAD = b"said"


class SaidReader:
    """Reads the messages of a request and nothing else: not its model, its tools or its settings, which logs do not tell alike.

    ``system``: system texts count. Requests of other APIs are read as ``Reader`` reads them.
    """

    def __init__(
        self, volatile: Volatile, roots: Roots, *, system: bool, redact: Callable[[bytes], bytes] | None = None
    ) -> None:
        self._volatile = volatile
        self._roots = roots
        self._system = system
        self._redact = redact
        other = Reader(volatile, roots)
        self._other = other.redacting(redact) if redact else other
        self._replace = replacer(roots)
        # Texts that an API keeps apart are one text here, so what stood at the begin of a text stands at that of a line.
        lines = [pattern.find.replace(r"\A", "(?m:^)").replace(r"\Z", "(?m:$)") for pattern in volatile.pattern]
        self._patterns = [re.compile(line) for line in lines]

    def redacting(self, redact: Callable[[bytes], bytes]) -> SaidReader:
        """A reader that applies ``redact`` to a body, as an import does to what it stores."""
        return SaidReader(self._volatile, self._roots, system=self._system, redact=redact)

    def read(self, api: Api, method: str, path: str, body: bytes) -> Asked:
        """The keys of a request."""
        ask = self._ask(api, path, body)
        if ask is None:
            return self._other.read(api, method, path, body)
        said = neutral(ask.messages, self._normal, system=self._system)
        messages = tuple(sha256(msgspec.json.encode(one)).digest()[:16] for one in said)
        key = sha256(b"".join((_HEAD, *messages))).digest()[:16]
        return Asked(key=key, head=_HEAD, messages=messages, stream=ask.stream, tools=bool(ask.tools))

    def readable(self, api: Api, body: bytes) -> Any:
        """What is said, for people."""
        ask = self._ask(api, "", body)
        if ask is None:
            return self._other.readable(api, body)
        said = neutral(ask.messages, self._shown, system=self._system)
        return {"messages": [{"role": role, "text": text, "calls": calls} for role, text, calls in said]}

    def _ask(self, api: Api, path: str, body: bytes) -> Ask | None:
        """None for what is no conversation."""
        if api not in CONVERSATIONS:
            return None
        try:
            return parse_request(api, path, self._redact(body) if self._redact else body)
        except BadShape:
            return None

    def _normal(self, text: str) -> str:
        for pattern in self._patterns:
            text = pattern.sub(left_out, text)
        return self._replace(text)

    def _shown(self, text: str) -> str:
        return self._normal(text).replace(OPEN, "<").replace(CLOSE, ">")


def tells_system(recording: Recording) -> bool:
    """Whether recorded requests have system texts at all: some exporters leave them out."""
    for exchange in recording.exchanges:
        try:
            ask = parse_request(exchange.api, exchange.path, recording.body(exchange, "request"))
        except BadShape:
            continue
        if any(message.role == "system" for message in ask.messages):
            return True
    return False
