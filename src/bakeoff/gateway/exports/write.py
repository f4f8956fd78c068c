"""Exports to files, to standard output, or to a collector. Nothing is left half-written."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from bakeoff.errors import InputError
from bakeoff.files.atomic import write_json
from bakeoff.gateway.exports import otel
from bakeoff.gateway.exports.collector import LARGEST, Collector
from bakeoff.gateway.exports.sources import Source
from bakeoff.gateway.exports.trajectory import Nothing, trajectory

Write = Callable[[bytes], object]


class Exported(Struct, frozen=True):
    """What an export came to: trials written, those without anything to write, and files where there are any."""

    trials: int
    without: int = 0
    files: tuple[Path, ...] = ()


def atif(sources: Iterable[Source], out: Path | None, write: Write) -> Exported:
    """A trajectory for each trial: as files in the folder ``out``, or as lines through ``write``.

    A path that ends in ``.json`` is a file for one trial. Trials that no model answered are counted. Raises InputError.
    """
    files: list[Path] = []
    done = without = 0
    for source in sources:
        try:
            made = trajectory(source.facts, source.pairs())
        except Nothing:
            without += 1
            continue
        if out is None:
            write(msgspec.json.encode(made) + b"\n")
        else:
            if done and out.suffix == ".json":
                raise InputError("several trials, and one file", where=str(out), field="-o", wanted="a folder")
            place = out if out.suffix == ".json" else out / f"{source.name}.json"
            with _writing(place):
                place.parent.mkdir(parents=True, exist_ok=True)
                write_json(place, made)
            files.append(place)
        done += 1
    return Exported(done, without, tuple(files))


def otel_lines(sources: Iterable[Source], out: Path | None, write: Write) -> Exported:
    """A line of OTLP/JSON for each trial, in the file ``out`` or through ``write``. Raises InputError."""
    if out is None:
        return Exported(_lines(sources, write))
    with _writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = out.parent / f".{out.name}.{secrets.token_hex(4)}"
        try:
            with open(beside, "xb") as stream:
                done = _lines(sources, stream.write)
            os.replace(beside, out)
        finally:
            with suppress(FileNotFoundError):
                beside.unlink()
    return Exported(done, files=(out,))


def otel_collector(sources: Iterable[Source], collector: Collector) -> Exported:
    """The same spans to a collector. Ids are those of the file, so that sending again adds nothing new. Raises InputError."""
    done = 0
    for source in sources:
        for body in otel.requests(source.facts, source.pairs(), size=LARGEST):
            collector.post(body)
        done += 1
    return Exported(done)


def _lines(sources: Iterable[Source], write: Write) -> int:
    done = 0
    for source in sources:
        for piece in otel.line(source.facts, source.pairs()):
            write(piece)
        done += 1
    return done


@contextmanager
def _writing(place: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(place), field="-o") from None
