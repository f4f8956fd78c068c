"""Read JSON that others wrote: one error for what cannot be read, and no surprise for what is of another kind than expected."""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec

_ESCAPES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}|\\.", re.DOTALL
)
_LONE = 6
_INT64 = range(2**63)


class BadShape(ValueError):
    """A body that is not what its API says. ``str()`` of it says where, and what stands there."""


def load(body: bytes) -> Any:
    """The JSON value of a body. Invalid UTF-8 and lone surrogates become U+FFFD. Raises BadShape for anything but JSON."""
    try:
        try:
            return msgspec.json.decode(body)
        except (UnicodeDecodeError, msgspec.DecodeError):
            return msgspec.json.decode(_mended(body))
    except msgspec.DecodeError as error:
        raise BadShape(f"not JSON: {error} ({len(body)} bytes)") from None
    except RecursionError:
        raise BadShape("JSON that is nested too deep") from None


def load_table(body: bytes) -> dict[str, Any]:
    """The JSON object of a body. Raises BadShape."""
    value = load(body)
    if not isinstance(value, dict):
        raise BadShape(f"not a JSON object, but {kind_of(value)}")
    return cast("dict[str, Any]", value)


def dump(value: object) -> str:
    """Compact JSON."""
    return dump_bytes(value).decode()


def dump_bytes(value: object) -> bytes:
    """Compact JSON in UTF-8. Raises BadShape for what JSON cannot hold."""
    try:
        return msgspec.json.encode(value)
    except (UnicodeEncodeError, OverflowError, RecursionError, TypeError) as error:
        raise BadShape(f"cannot be written as JSON: {error}") from None


def table(value: object) -> dict[str, Any]:
    """``value`` if it is a JSON object, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def tables(value: object) -> list[dict[str, Any]]:
    """The JSON objects of an array; what is neither is passed over."""
    return [cast("dict[str, Any]", item) for item in items(value) if isinstance(item, dict)]


def items(value: object) -> list[Any]:
    """``value`` if it is a JSON array, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def string(value: object) -> str:
    """``value`` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def count(value: object) -> int | None:
    """``value`` if it is a number of tokens or a position, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value in _INT64 else None


def total(*counts: int | None) -> int | None:
    """The sum of those that are known; None where none is."""
    known = [number for number in counts if number is not None]
    return sum(known) if known else None


def required_tables(body: dict[str, Any], field: str) -> list[dict[str, Any]]:
    """The objects of an array that a request cannot do without. Raises BadShape where it is missing or holds anything else."""
    value = body.get(field)
    if not isinstance(value, list):
        raise BadShape(f"{field}: {kind_of(value) if field in body else 'missing'}, wanted an array of objects")
    for index, item in enumerate(cast("list[object]", value)):
        if not isinstance(item, dict):
            raise BadShape(f"{field}[{index}]: {kind_of(item)}, wanted an object")
    return cast("list[dict[str, Any]]", value)


def kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    words = ((str, "a string"), (list, "an array"), (dict, "an object"), ((int, float), "a number"))
    return next((word for kind, word in words if isinstance(value, kind)), "something else")


def _mended(body: bytes) -> bytes:
    """``body`` with U+FFFD for what no text can hold."""
    return _ESCAPES.sub(_mend, body.decode("utf-8", "replace").encode())


def _mend(found: re.Match[bytes]) -> bytes:
    escape = found.group()
    return rb"\ufffd" if len(escape) == _LONE else escape
