"""The ways in which a known value can stand in text."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

_BASE64_URL = bytes.maketrans(b"+/", b"-_")


def forms(value: str) -> tuple[bytes, ...]:
    """As it is, as JSON (escaped once and twice, as in a tool's arguments), URL-encoded, in hex, and in base64 wherever it begins in it.

    Longest first, each once.
    """
    raw = value.encode("utf-8", "surrogateescape")
    found = {raw, raw.hex().encode(), raw.hex().upper().encode()}
    for text in (value, value.replace("/", "\\/")) if "/" in value else (value,):
        found |= _escaped(text)
    for safe in ("", "/"):
        for encoded in (quote(raw, safe=safe), quote_plus(raw, safe=safe)):
            found |= {encoded.encode(), _lower_escapes(encoded)}
    for plain in (raw, json.dumps(value)[1:-1].encode()):
        for standard in _base64(plain):
            found |= {standard, standard.translate(_BASE64_URL)}
    return tuple(sorted((form for form in found if form), key=lambda form: (-len(form), form)))


def _escaped(text: str) -> set[bytes]:
    out: set[bytes] = set()
    for only_ascii in (True, False):
        once = json.dumps(text, ensure_ascii=only_ascii)[1:-1]
        twice = json.dumps(once, ensure_ascii=only_ascii)[1:-1]
        out |= {once.encode("utf-8", "surrogateescape"), twice.encode("utf-8", "surrogateescape")}
    if "\\/" in text:
        out.add(text.encode("utf-8", "surrogateescape"))
    return out


def _lower_escapes(encoded: str) -> bytes:
    pieces = encoded.split("%")
    return "%".join([pieces[0], *(piece[:2].lower() + piece[2:] for piece in pieces[1:])]).encode()


def _base64(raw: bytes) -> list[bytes]:
    """Those characters of the base64 of anything with ``raw`` in it that ``raw`` alone decides, for each of the three alignments."""
    out: list[bytes] = []
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw)
        first = (before * 8 + 5) // 6
        last = (before + len(raw)) * 8 // 6
        out.append(encoded[first:last])
    return out
