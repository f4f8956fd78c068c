"""Asking the kernel under a filter, and a small interpreter of filters: what the tests of seccomp share."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from bakeoff.sandboxes.zygote import seccomp
from bakeoff.sandboxes.zygote import seccomp_table as table

SOURCE = Path(__file__).resolve().parents[2] / "src"
ORDINARY_ID = 12345
MARK = 3000

Call = tuple[str, int, tuple[int | str, ...]]
IDENTITIES = ("root", "ordinary", "owner") if os.geteuid() == 0 else ("ordinary", "owner")
"""``owner`` is an ordinary user that has every capability in a user namespace of its own."""


def marked(program: bytes) -> bytes:
    """The same filter, with errors that the kernel never gives by itself: what it answers can be told from what the kernel does."""
    return b"".join(
        struct.pack("=HBBI", code, met, missed, value + MARK * (code == 0x06 and value >> 16 == 5))
        for code, met, missed, value in decoded(program)
    )


@cache
def ask(program: bytes, calls: tuple[Call, ...], identity: str = "") -> tuple[int | str, ...] | str:
    """What the kernel says to each call; a string instead when this machine can't be asked. The present id when none is given."""
    wish = {
        "source": str(SOURCE),
        "program": program.hex(),
        "uid": ORDINARY_ID if os.geteuid() == 0 and identity in ("ordinary", "owner") else -1,
        "namespace": identity == "owner",
        "calls": calls,
    }
    ran = subprocess.run(
        [sys.executable, "-IS", str(Path(__file__).with_name("asker.py"))],
        input=json.dumps(wish),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    answer: list[int | str] | str = json.loads(ran.stdout)
    return answer if isinstance(answer, str) else tuple(answer)


@cache
def decoded(program: bytes) -> list[tuple[int, int, int, int]]:
    return list(struct.iter_unpack("=HBBI", program))


def verdict(program: bytes, architecture: int, number: int, arguments: Sequence[int] = ()) -> int:
    """What the filter returns for a call, as the kernel's interpreter would work it out."""
    data = struct.pack(
        "=iIQ6Q",
        number if number < 1 << 31 else number - (1 << 32),
        architecture,
        0,
        *arguments[:6],
        *[0] * (6 - len(arguments)),
    )
    lines = decoded(program)
    position, value = 0, 0
    while True:
        code, met, missed, operand = lines[position]
        position += 1
        match code:
            case 0x20:
                (value,) = struct.unpack_from("=I", data, operand)
            case 0x54:
                value &= operand
            case 0x05:
                position += operand
            case 0x15:
                position += met if value == operand else missed
            case 0x25:
                position += met if value > operand else missed
            case 0x35:
                position += met if value >= operand else missed
            case 0x06:
                return operand
            case _:
                raise AssertionError(f"an instruction that the filter should not have: {code:#x}")


def said(column: str, number: int, arguments: Sequence[int], without: Sequence[str] = ()) -> int:
    """What the table says of a call: the error, or 0."""
    if number == 0xFFFFFFFF:
        return 0
    if column == "x86_64" and (number & 0x40000000 or number >> 31 or 512 <= number <= 547):
        return 38
    if number > table.LAST:
        return 0 if "kernel" in without else 38
    place = 1 + list(table.ARCHITECTURES).index(column)
    for group, _, rows in table.TABLE:
        for row in rows:
            if group in without or row[place] != number:
                continue
            if all(
                (arguments[argument] & mask & 0xFFFFFFFF in values) is among for argument, mask, among, values in row[5]
            ):
                return row[4]
    return 0


PROGRAM = seccomp.program()
