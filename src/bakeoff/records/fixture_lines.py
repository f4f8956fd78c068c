"""The lines of a fixture's exchanges, from a plain or a compressed file, within bounds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from bakeoff.errors import InputError
from bakeoff.records.exchanges import Exchange
from bakeoff.records.fixture_files import COMPRESSED, EXCHANGES, REFUSED, Refusal
from bakeoff.records.versions import check_version

MAX_LINE = 64 << 20
"""Bytes of one line."""

MAX_LINES = 512 << 20
"""Bytes of all lines of a fixture."""

_STEP = 256 << 10
_WINDOW = 1 << 27
_DECODER = msgspec.json.Decoder(Exchange)
_AGAIN = "record the fixture again, or take it from where it is whole"


def exchanges_file(folder: Path) -> Path:
    """The file with the lines. Raises InputError where there is none, or two, or a recording that was refused."""
    refused = folder / REFUSED
    if refused.exists():
        raise InputError(
            "this recording was refused, and cannot be used: " + _reason(refused),
            where=str(refused),
            wanted="another recording, of an agent that is not shown these secrets",
        )
    found = [folder / name for name in (EXCHANGES, COMPRESSED) if (folder / name).is_file()]
    if len(found) == 1:
        return found[0]
    wanted = f"{EXCHANGES} or {COMPRESSED}"
    if found:
        raise InputError("there are two files of exchanges", where=str(folder), wanted=f"one of them: {wanted}")
    raise InputError("this is no fixture: it has no exchanges", where=str(folder), wanted=wanted)


def _reason(path: Path) -> str:
    try:
        refusal = msgspec.json.decode(path.read_bytes(), type=Refusal)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "it held secrets"
    return f"{refusal.reason} ({', '.join(refusal.kinds)})"


def read_lines(path: Path) -> Iterator[bytes]:
    """Each line, with its newline. Raises InputError for a line without one, a line or a file beyond all bounds, and a damaged file."""
    held = b""
    total = number = 0
    for piece in _pieces(path):
        total += len(piece)
        if total > MAX_LINES:
            raise InputError("unfolds to too much", where=str(path), wanted=f"at most {MAX_LINES} bytes of lines")
        lines = (held + piece).split(b"\n")
        held = lines.pop()
        for line in lines:
            number += 1
            yield line + b"\n"
        if len(held) > MAX_LINE:
            raise InputError(
                "a line is too long", where=f"{path}: line {number + 1}", wanted=f"at most {MAX_LINE} bytes"
            )
    if held:
        raise InputError(
            "the last line has no end: the file was cut",
            where=f"{path}: line {number + 1}",
            found=f"{len(held)} bytes without a newline",
            wanted=_AGAIN,
        )


def read_exchanges(path: Path) -> Iterator[tuple[bytes, Exchange]]:
    """Each line with its exchange. Raises InputError for a line that is none, and for numbers that do not rise."""
    last = 0
    for number, line in enumerate(read_lines(path), 1):
        where = f"{path}: line {number}"
        try:
            check_version(line, where)
            exchange = _DECODER.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(f"not an exchange: {error}", where=where, wanted="JSON as the recorder wrote it") from None
        if exchange.seq <= last:
            raise InputError(
                "the lines are not in order",
                where=where,
                field="seq",
                found=str(exchange.seq),
                wanted=f"more than {last}, which stands before it" if last else "at least 1",
            )
        last = exchange.seq
        yield line, exchange


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with open(path, "rb") as stream:
            yield from _unfolded(path, stream) if path.suffix == ".zst" else iter(lambda: stream.read(_STEP), b"")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None


def _unfolded(path: Path, stream: Any) -> Iterator[bytes]:
    """What is in the frames of a zstd file; a frame that is cut is an error."""
    import zstandard

    maker = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    frame = maker.decompressobj()
    begun = False
    total = 0
    try:
        while data := stream.read(1024):
            while data:
                begun = True
                piece = frame.decompress(data)
                total += len(piece)
                yield piece
                data = b""
                if frame.eof:
                    data = frame.unused_data
                    frame, begun = maker.decompressobj(), False
    except zstandard.ZstdError as error:
        raise InputError(f"damaged: {error}", where=str(path), found=f"{total} bytes before", wanted=_AGAIN) from None
    if begun:
        raise InputError(
            "cut short: the last frame has no end", where=str(path), found=f"{total} bytes before", wanted=_AGAIN
        )
