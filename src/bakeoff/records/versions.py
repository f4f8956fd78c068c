"""The versions in which records are written."""

from __future__ import annotations

import msgspec

from bakeoff.errors import InputError
from bakeoff.records.results import SCHEMA_VERSION


class _Version(msgspec.Struct):
    schema_version: str


_DECODER = msgspec.json.Decoder(_Version)


def check_version(data: bytes, where: str) -> None:
    """Raises InputError where a JSON document is of a version that is not known here, msgspec.DecodeError where it is none."""
    found = _DECODER.decode(data).schema_version
    known = SCHEMA_VERSION.split(".")[0]
    if found.split(".")[0] != known:
        raise InputError(
            "written by another version of bakeoff; use that version",
            where=where,
            field="schema_version",
            found=repr(found[:40]),
            wanted=f"{known}.x",
        )
