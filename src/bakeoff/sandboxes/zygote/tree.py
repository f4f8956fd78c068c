"""Which processes live in a sandbox, as the zygote sees them from outside (its own process numbers)."""

import os
import time

_CLOCK_EVERY = 256  # descriptors
_NAME = 4096  # bytes of a command line, which can have megabytes, in each of thousands of processes
_ANY = 1 << 62


def children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, _read(f"/proc/{pid}/task/{task}/children").split())
    except OSError:
        pass
    return found


def descendants(roots: list[int]) -> list[int]:
    """Every process below ``roots``, themselves and the dead included."""
    seen: list[int] = []
    known: set[int] = set()
    todo = list(roots)
    while todo:
        pid = todo.pop()
        if pid in known:
            continue
        known.add(pid)
        seen.append(pid)
        todo += children(pid)
    return seen


def alive(pid: int) -> bool:
    """Whether the process is there and not merely waiting to be reaped."""
    return _stat(pid)[0] not in "ZX"


def started(pid: int) -> int:
    """Clock ticks between boot and the start of the process, 0 when it is gone."""
    fields = _stat(pid)
    return int(fields[19]) if len(fields) > 19 else 0


def tracers(pid: int) -> set[int]:
    """Who traces the process or one of its threads."""
    found: set[int] = set()
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            for line in _read(f"/proc/{pid}/task/{task}/status").split("\n"):
                if line.startswith("TracerPid:"):
                    found.add(int(line.split()[1]))
    except OSError:
        pass
    return found - {0}


def names(pid: int) -> list[str]:
    """The command's name as the kernel has it, and the last part of its first argument."""
    try:
        comm = _read(f"/proc/{pid}/comm").rstrip("\n")
        first = _read(f"/proc/{pid}/cmdline", _NAME).split("\0", 1)[0]
    except OSError:
        return ["?"]
    return [comm, first.rsplit("/", 1)[-1].split(" ")[0].rstrip(":")]


def inner_pid(pid: int) -> int:
    """The number that the process has inside."""
    try:
        for line in _read(f"/proc/{pid}/status").split("\n"):
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    except OSError:
        pass
    return 0


def listening(first: int) -> set[str]:
    """The inodes of the sandbox's listening sockets, as ``socket:[N]``."""
    found: set[str] = set()
    for name, field, state, inode in (("tcp", 3, "0A", 9), ("tcp6", 3, "0A", 9), ("unix", 3, "00010000", 6)):
        try:
            lines = _read(f"/proc/{first}/net/{name}").split("\n")[1:]
        except OSError:
            continue
        for line in lines:
            parts = line.split()
            if len(parts) > inode and parts[field] == state:
                found.add(f"socket:[{parts[inode]}]")
    return found


def holds(pid: int, sockets: set[str] | frozenset[str], deadline: float) -> bool:
    """Whether the process has one of these open, as far as that is found before the ``deadline`` of the monotonic clock."""
    if time.monotonic() > deadline:
        return False
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            for number, entry in enumerate(entries):
                if number % _CLOCK_EVERY == 0 and time.monotonic() > deadline:
                    return False
                if os.readlink(entry.path) in sockets:
                    return True
    except OSError:
        pass
    return False


def _stat(pid: int) -> list[str]:
    try:
        return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    except OSError:
        return ["X"]


def _read(path: str, most: int = _ANY) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts: list[bytes] = []
        while most > 0 and (part := os.read(fd, min(most, 1 << 16))):
            parts.append(part)
            most -= len(part)
        return b"".join(parts).decode("utf-8", "replace")
    finally:
        os.close(fd)
