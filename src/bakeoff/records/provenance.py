"""``provenance.json`` of a fixture: written, and read with its faults named."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bakeoff.errors import InputError
from bakeoff.files.atomic import write_json
from bakeoff.records.exchanges import Provenance
from bakeoff.records.fixture_files import PROVENANCE
from bakeoff.records.versions import check_version

_MAX = 4 << 20


def write_provenance(folder: Path, provenance: Provenance) -> None:
    """Put it beside the exchanges."""
    write_json(folder / PROVENANCE, provenance)


def read_provenance(folder: Path) -> Provenance | None:
    """What the fixture was recorded from; None where that is not told. Raises InputError where it cannot be read."""
    path = folder / PROVENANCE
    try:
        with open(path, "rb") as stream:
            data = stream.read(_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if len(data) > _MAX:
        raise InputError("too long for a provenance", where=str(path), wanted=f"at most {_MAX} bytes")
    try:
        check_version(data, str(path))
        return msgspec.json.decode(data, type=Provenance)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"not a provenance: {error}", where=str(path), wanted="as the recorder wrote it") from None
