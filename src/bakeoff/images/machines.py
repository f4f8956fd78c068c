"""Which machine a program was built for, and whether this one runs it."""

from __future__ import annotations

import functools
import os
from pathlib import Path

HEADER = 64  # bytes of a program's beginning that are enough to tell
_ELF = b"\x7fELF"
_NAMES = {
    2: "sparc", 3: "i386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm", 43: "sparc64", 62: "x86_64",
    183: "aarch64", 243: "riscv", 258: "loongarch",
}  # fmt: skip
_ALSO_RUNS = {62: (3,), 183: (40,)}  # the 32-bit programs that a 64-bit kernel runs as well
_BINFMT = Path("/proc/sys/fs/binfmt_misc")


def elf_machine(header: bytes) -> tuple[int, str] | None:
    """The number and name of the machine that an ELF program is for; None where the bytes are no such program's."""
    if len(header) < 20 or not header.startswith(_ELF) or header[5] not in (1, 2):
        return None
    number = int.from_bytes(header[18:20], "little" if header[5] == 1 else "big")
    return number, _NAMES.get(number, f"machine {number}")


def foreign(header: bytes) -> tuple[str, str] | None:
    """The names of the machine that a program is for and of this one, where it cannot run here; None where it can.

    What is no ELF program (a script) is not judged.
    """
    wanted, here = elf_machine(header), elf_machine(_own())
    if wanted is None or here is None or wanted[0] == here[0] or wanted[0] in _ALSO_RUNS.get(here[0], ()):
        return None
    return None if any(matches(text, header) for text in _emulators()) else (wanted[1], here[1])


def matches(entry: str, header: bytes) -> bool:
    """Whether an entry of the kernel's binfmt_misc runs programs that begin so, whatever root they are in."""
    lines = entry.splitlines()
    fields = dict(line.split(" ", 1) for line in lines if " " in line)
    if "enabled" not in lines or "F" not in fields.get("flags:", ""):
        return False  # without F the emulator itself would have to be in the root
    try:
        magic = bytes.fromhex(fields["magic"])
        mask = bytes.fromhex(fields["mask"]) if "mask" in fields else b"\xff" * len(magic)
        start = int(fields.get("offset", "0"))
    except (KeyError, ValueError):
        return False
    found = header[start : start + len(magic)]
    return len(found) == len(magic) == len(mask) and all(
        (a ^ b) & c == 0 for a, b, c in zip(found, magic, mask, strict=True)
    )


@functools.cache
def _own() -> bytes:
    with open("/proc/self/exe", "rb") as stream:
        return stream.read(HEADER)


def _emulators() -> list[str]:
    texts: list[str] = []
    try:
        for name in os.listdir(_BINFMT):
            if name not in ("register", "status"):
                texts.append((_BINFMT / name).read_text("utf-8", "replace"))
    except OSError:
        pass
    return texts
