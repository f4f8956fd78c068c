"""What a program asks of its loader, read from its ELF header."""

from __future__ import annotations

import os
import struct
from pathlib import Path

_MAGIC = b"\x7fELF"
_INTERP = 3
_MOST_HEADERS = 256
_LONGEST = 4096


def loader(path: Path) -> str | None:
    """The path of the dynamic loader that the 64-bit program ``path`` names; None where it needs none, or is no such program."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(64)
            if len(head) < 64 or not head.startswith(_MAGIC) or head[4] != 2 or head[5] not in (1, 2):
                return None
            order = "<" if head[5] == 1 else ">"
            offset, size, count = _program_headers(head, order)
            stream.seek(offset)
            table = stream.read(size * min(count, _MOST_HEADERS))
            for start in range(0, len(table) - 55, size):
                kind, _, at, _, _, length = struct.unpack_from(f"{order}IIQQQQ", table, start)
                if kind == _INTERP and length <= _LONGEST:
                    stream.seek(at)
                    return os.fsdecode(stream.read(length).rstrip(b"\0"))
    except (OSError, OverflowError, struct.error):
        return None
    return None


def is_program(path: Path) -> bool:
    """Whether ``path`` begins as an ELF file does: a program or a library."""
    try:
        with open(path, "rb") as stream:
            return stream.read(4) == _MAGIC
    except OSError:
        return False


def _program_headers(head: bytes, order: str) -> tuple[int, int, int]:
    (offset,) = struct.unpack_from(f"{order}Q", head, 32)
    size, count = struct.unpack_from(f"{order}HH", head, 54)
    return offset, max(size, 56), count
