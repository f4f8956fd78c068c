"""Lie in wait for processes that enter, and take hold of each before it has become the command that it was sent for.

``python3 -m inside.entering WAY…`` writes a line for each success; it runs until it is killed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence

from inside.kit import call, read, trace

_SEIZE = 0x4206


def _trace(pid: int) -> object:
    trace(pid, lambda: entering(pid))
    print(f"trace: {pid} was had", flush=True)
    return None


def _look(pid: int) -> object:
    return [
        os.listdir(f"/proc/{pid}/fd"),
        os.readlink(f"/proc/{pid}/exe"),
        read(f"/proc/{pid}/environ"),
        read(f"/proc/{pid}/maps"),
    ]


def _open_memory(pid: int) -> object:
    return os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR))


def _leave_by_its_root(pid: int) -> object:
    return os.listdir(f"/proc/{pid}/root/"), os.listdir(f"/proc/{pid}/cwd/")


def _stop(pid: int) -> object:
    return os.kill(pid, signal.SIGSTOP)


WAYS: dict[str, Callable[[int], object]] = {
    "trace": _trace,
    "look": _look,
    "memory": _open_memory,
    "root": _leave_by_its_root,
    "stop": _stop,
}


def new_processes() -> Iterator[int]:
    """Each process that comes, again and again as long as it is not the command yet."""
    own = {int(name) for name in os.listdir("/proc") if name.isdigit()}
    while True:
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) not in own:
                yield int(name)


def entering(pid: int) -> bool:
    """Whether it still runs the program that enters sandboxes."""
    return read(f"/proc/{pid}/comm").startswith(b"python")


def lie_in_wait(ways: Sequence[str]) -> None:
    for pid in new_processes():
        for way in ways:
            try:
                if entering(pid):
                    WAYS[way](pid)
                    if entering(pid):
                        print(f"{way}: {pid} was had", flush=True)
            except OSError:
                continue


def hold() -> None:
    """Trace the next command, and never look at it again."""
    for pid in new_processes():
        try:
            if read(f"/proc/{pid}/comm") == b"sleep\n":
                call("ptrace", _SEIZE, pid, 0, 0)
                break
        except OSError:
            continue
    print("held", flush=True)
    signal.pause()


if __name__ == "__main__":
    print("waiting", flush=True)
    if sys.argv[1] == "hold":
        hold()
    else:
        lie_in_wait(sys.argv[1:])
