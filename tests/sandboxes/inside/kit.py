"""What attacks have in common. All of this folder is laid into a sandbox and run there by a bare interpreter."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import struct
from collections.abc import Callable
from typing import Any

Attack = Callable[[], "str | None"]
"""Says what it achieved; None, or an OSError, when it got nowhere."""

ATTACKS: dict[str, Attack] = {}

facts: dict[str, Any] = json.loads(os.environ.get("FACTS", "{}"))
"""What the harness tells of the machine, so that an attack knows its goal when it sees it."""

libc = ctypes.CDLL(None, use_errno=True)

# Numbers on x86_64 and aarch64.
_NUMBERS = {
    "ptrace": (101, 117),
    "syslog": (103, 116),
    "personality": (135, 92),
    "pivot_root": (155, 41),
    "adjtimex": (159, 171),
    "chroot": (161, 51),
    "reboot": (169, 142),
    "iopl": (172, -1),
    "init_module": (175, 105),
    "perf_event_open": (298, 241),
    "fanotify_init": (300, 262),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "kcmp": (312, 272),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kexec_load": (246, 104),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "clone3": (435, 435),
    "pidfd_getfd": (438, 438),
    "mount_setattr": (442, 442),
}
_COLUMN = 0 if os.uname().machine == "x86_64" else 1


class Inert(Exception):
    """The attack does nothing even where it must: it proves nothing here."""


def attack(function: Attack) -> Attack:
    """Name an attack after its function."""
    ATTACKS[function.__name__] = function
    return function


def checked(result: int, what: str = "") -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what} {errno.errorcode.get(number, number)}")
    return result


def call(name: str, *arguments: Any) -> int:
    """A system call. Raises OSError."""
    made = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return checked(libc.syscall(ctypes.c_long(_NUMBERS[name][_COLUMN]), *made), name)


def permitted(call_: Callable[[], object], *beyond: int) -> bool:
    """Whether a call got past its permission check: it worked, or failed for one of the reasons ``beyond``."""
    try:
        call_()
    except OSError as error:
        if error.errno not in beyond:
            raise
    return True


def mount(source: str, target: str, kind: str, flags: int = 0) -> None:
    checked(libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None), "mount")


def read(path: str, size: int = 4096) -> bytes:
    with open(path, "rb", buffering=0) as stream:
        return stream.read(size)


def field(path: str, name: str) -> str:
    """The value of a line ``name:`` in a file of /proc."""
    for line in read(path, 1 << 16).decode().splitlines():
        if line.startswith(name + ":"):
            return line.split(":", 1)[1].strip()
    return ""


class Child:
    """A process of one's own that sleeps: what works on it, works."""

    def __enter__(self) -> int:
        self.pid = os.fork()
        if self.pid == 0:
            libc.pause()
            os._exit(0)
        return self.pid

    def __exit__(self, *_: object) -> None:
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)


def trace(pid: int, meant: Callable[[], bool]) -> None:
    """Trace another process for a moment, by one whose own end lets go of it again; if ``meant`` then still holds."""
    child = os.fork()
    if child == 0:
        try:
            call("ptrace", 0x4206, pid, 0, 0)
            os._exit(0 if meant() else 1)
        finally:
            os._exit(1)
    if os.waitpid(child, 0)[1]:
        raise OSError(errno.EPERM, "not traced")


def iovec(address: int, size: int) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(struct.pack("QQ", address, size))
