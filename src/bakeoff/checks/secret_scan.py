"""Secrets in bytes, told by where they stand and never repeated; what is known to be none is let through by exact rules."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from bakeoff.errors import InputError
from bakeoff.gateway.secrets import Secrets

_SHIPPED = Path(__file__).with_name("not_secret.toml")
_MATERIAL = 80  # bytes below which what looks like a private key is only its first line, as prose and programs have it


class Leak(Struct, frozen=True, kw_only=True):
    """A secret in bytes. ``kind`` is the name of a known value, or what it looks like; ``masked`` shows its first letters."""

    line: int
    kind: str
    by: str
    masked: str


class Allowed(Struct, frozen=True, forbid_unknown_fields=True):
    """One exact value that looks like a secret and is none. ``sha256`` is of its bytes."""

    sha256: str
    kind: str
    reason: str


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    allow: tuple[Allowed, ...] = ()


def read_allowed(path: Path = _SHIPPED) -> dict[str, Allowed]:
    """The exact rules of a TOML file, by sha256. Raises InputError where it is none, or a rule has no reason."""
    try:
        rules = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), type=_File)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise InputError(f"not a list of exact rules: {error}", where=str(path)) from None
    for number, rule in enumerate(rules.allow, 1):
        if len(rule.sha256) != 64 or set(rule.sha256) - set("0123456789abcdef"):
            raise InputError("not a sha256", where=str(path), field=f"allow[{number}].sha256", found=rule.sha256[:80])
        if not rule.reason.strip():
            raise InputError("a rule needs its reason", where=str(path), field=f"allow[{number}].reason")
    return {rule.sha256: rule for rule in rules.allow}


class Scan:
    """Looks for secrets by value and by shape. ``allowed`` are exact values that are none, ``let_through`` counts those met."""

    def __init__(self, secrets: Secrets, allowed: dict[str, Allowed]) -> None:
        self._secrets = secrets
        self._allowed = allowed
        self.let_through = 0

    def leaks(self, data: bytes, *, line: int = 1, stop: int | None = None) -> Iterator[Leak]:
        """Every secret in ``data`` that begins before ``stop``. The first line of ``data`` has the number ``line``."""
        if not self._secrets.suspect(data):
            return
        counted = 0
        for start, end, kind, known in self._secrets.found(data):
            if stop is not None and start >= stop:
                break
            line += data.count(b"\n", counted, start)
            counted = start
            value = data[start:end]
            rule = self._allowed.get(hashlib.sha256(value).hexdigest())
            if not known and rule is not None and rule.kind == kind:
                self.let_through += 1
                continue
            if not known and _is_marker(kind, value):
                continue
            shown = "" if known else value[:4].decode("utf-8", "replace")
            yield Leak(
                line=line, kind=kind, by="value" if known else "shape", masked=f"{shown}*** ({len(value)} bytes)"
            )


def _is_marker(kind: str, value: bytes) -> bool:
    return kind == "private-key" and len(value) < _MATERIAL
