"""``known-bad.toml``: fixtures of a tree that are known to be of no use, each with its reason and date. They are told, not hidden."""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path

import msgspec
from msgspec import Struct

from bakeoff.errors import InputError

KNOWN_BAD = "known-bad.toml"
_ABOVE = 8


class KnownBad(Struct, frozen=True, forbid_unknown_fields=True):
    """``path`` is the fixture's folder, relative to the list's."""

    path: str
    reason: str
    date: date


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    fixture: tuple[KnownBad, ...] = ()


def read_known_bad(path: Path) -> tuple[Path | None, dict[Path, KnownBad]]:
    """The list that holds for what is at ``path``: of that folder or the nearest one above it. And its file, None where there is none.

    Raises InputError where it cannot be read, an entry has no reason, or names a folder outside of the list's own.
    """
    folder = path.resolve()
    for above in (folder, *list(folder.parents)[:_ABOVE]):
        file = above / KNOWN_BAD
        if file.is_file():
            return file, _entries(file)
        if (above / ".git").exists():
            break
    return None, {}


def _entries(file: Path) -> dict[Path, KnownBad]:
    try:
        listed = msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), type=_File)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(file)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise InputError(
            f"not a list of fixtures: {error}", where=str(file), wanted="[[fixture]] with path, reason and date"
        ) from None
    found: dict[Path, KnownBad] = {}
    for number, entry in enumerate(listed.fixture, 1):
        place = Path(entry.path)
        if place.is_absolute() or ".." in place.parts:
            raise InputError(
                "not below the list", where=str(file), field=f"fixture[{number}].path", found=entry.path[:200]
            )
        if not entry.reason.strip():
            raise InputError("an entry needs its reason", where=str(file), field=f"fixture[{number}].reason")
        found[file.parent / place] = entry
    return found
