"""What differs between two identical runs of an agent: data, one TOML file for each agent and range of versions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

from bakeoff.errors import InputError

_FOLDER = Path(__file__).parent / "volatile"


class Pattern(Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of text that changes from run to run, inside the strings at the places ``at`` of a request's body.

    ``find`` is a regular expression that is anchored by what stands around the piece. What its named groups match is left out of
    the comparison; a group whose name begins with ``id`` is numbered by first appearance instead, so that two different ids
    stay different.
    """

    at: tuple[str, ...]
    find: str


class Order(Struct, frozen=True, forbid_unknown_fields=True):
    """Items of the arrays at ``at`` that come in any order: neighbours that have the field ``by`` are put in the order of its values."""

    at: str
    by: str


class Volatile(Struct, frozen=True, forbid_unknown_fields=True):
    """What to leave out of the comparison of two requests of one agent.

    Places are written ``field.field[].field``, from the top of the request's body. ``drop`` lists fields that do not count, ``ids``
    fields whose values are numbered by first appearance, ``outputs`` texts in which outputs of commands stand: there the expressions
    of ``outputs.toml`` hold too. ``versions`` are globs.
    """

    agent: str = ""
    versions: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    pattern: tuple[Pattern, ...] = ()
    order: tuple[Order, ...] = ()

    def covers(self, version: str) -> bool:
        """Whether this was seen to be right for that version; anything covers nothing volatile at all."""
        return not self.versions or any(fnmatchcase(version, glob) for glob in self.versions)


NOTHING = Volatile()
"""For commands of the user: nothing but the declared roots of the trial differs."""


def volatile_for(agent: str, version: str) -> Volatile:
    """The data for an agent, by its name: for that version where there is some, else for the last version that there is.

    An agent without data has nothing volatile. A version that is not covered shows itself by a divergence, never by a wrong answer.
    """
    known = [data for data in shipped() if data.agent == agent]
    return next((data for data in known if data.covers(version)), known[-1] if known else NOTHING)


@cache
def shipped() -> tuple[Volatile, ...]:
    """All data that come with bakeoff, earlier versions first."""
    found = [read_volatile(path) for path in sorted(_FOLDER.glob("*.toml"))]
    return tuple(sorted(found, key=lambda data: (data.agent, [_numbers(glob) for glob in data.versions])))


class _Output(Struct, frozen=True, forbid_unknown_fields=True):
    find: str


class _Outputs(Struct, frozen=True, forbid_unknown_fields=True):
    pattern: tuple[_Output, ...]


@cache
def output_patterns() -> tuple[re.Pattern[str], ...]:
    """What common programs print that differs from run to run."""
    data = msgspec.toml.decode(Path(__file__).with_name("outputs.toml").read_bytes(), type=_Outputs)
    return tuple(re.compile(one.find) for one in data.pattern)


def read_volatile(path: Path) -> Volatile:
    """Raises InputError for a file that cannot be read or is not such data."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InputError(str(error), where=str(path), wanted="a TOML file of volatile fields") from None
    return parse_volatile(text, str(path))


def parse_volatile(text: bytes, where: str) -> Volatile:
    """Raises InputError for what is not such data, for a place that cannot be read and for an expression without named groups."""
    try:
        data = msgspec.toml.decode(text, type=Volatile)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise InputError(str(error), where=where, wanted="a TOML file of volatile fields") from None
    check(data, where)
    return data


def check(data: Volatile, where: str) -> None:
    """Raises InputError for what would silently leave out nothing, or everything."""
    for place in _places(data):
        if not re.fullmatch(r"[\w-]+(\[\])*(\.[\w-]+(\[\])*)*", place):
            raise InputError("not a place in a request", where=where, found=repr(place), wanted="field.field[].field")
    for pattern in data.pattern:
        try:
            groups = re.compile(pattern.find).groupindex
        except re.error as error:
            raise InputError(f"not a regular expression: {error}", where=where, found=repr(pattern.find)) from None
        if not groups:
            raise InputError(
                "an expression without a named group leaves nothing out",
                where=where,
                found=repr(pattern.find),
                wanted="(?P<name>…) around what differs",
            )


def _places(data: Volatile) -> Iterable[str]:
    yield from data.drop
    yield from data.ids
    yield from data.outputs
    yield from (place for pattern in data.pattern for place in pattern.at)
    yield from (order.at for order in data.order)


def _numbers(glob: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", glob)]
