"""The names of what is in a fixture's folder, and the digest of its exchanges."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from bakeoff.records.exchanges import Exchange

EXCHANGES = "exchanges.jsonl"
COMPRESSED = "exchanges.jsonl.zst"
PROVENANCE = "provenance.json"
REFUSED = "refused.json"
BLOBS = "blobs"

_ENCODER = msgspec.json.Encoder()


class Refusal(msgspec.Struct, frozen=True):
    """``refused.json``: why a recording was not kept. ``kinds`` are names and kinds of secrets, never values."""

    schema_version: str
    reason: str
    kinds: tuple[str, ...]


def line_of(exchange: Exchange) -> bytes:
    """An exchange as its line, with the newline."""
    return _ENCODER.encode(exchange) + b"\n"


def digest_of_lines(lines: Iterable[bytes]) -> str:
    """Sha256 over the lines with their newlines: of the file without compression."""
    sha256 = hashlib.sha256()
    for line in lines:
        sha256.update(line)
    return sha256.hexdigest()


def digest(exchanges: Iterable[Exchange]) -> str:
    """The same for exchanges that are written as they are now."""
    return digest_of_lines(line_of(exchange) for exchange in exchanges)
