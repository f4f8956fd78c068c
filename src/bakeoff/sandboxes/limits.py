"""What a sandbox may use: what its task says, and where that is silent, what keeps the machine alive."""

from __future__ import annotations

import os

from msgspec import Struct

from bakeoff.tasks.model import Environment

PROCESSES = 4096
"""Processes and threads together: far above what a build or a browser takes, far below what a machine has numbers for."""

STORAGE_MB = 20_480
"""What a sandbox may write to disk where the task does not say."""

INODES = 2_000_000
"""Files and folders that a sandbox may make."""

_MEMORY_SHARE = 0.8
_TMP_SHARE = 0.4
_TMP_MB = 2048


class Bounds(Struct, frozen=True):
    """The limits of one sandbox: ``cpus`` in processors, sizes in MiB, None where nothing is limited.

    ``tmp_mb`` is of /tmp and of /dev/shm, each, which are in memory.
    """

    cpus: float | None = None
    memory_mb: int | None = None
    storage_mb: int | None = None
    processes: int | None = None
    inodes: int | None = None
    tmp_mb: int = _TMP_MB


def bounds_of(environment: Environment) -> Bounds:
    """The task's own limits, and defaults for the rest.

    A task that is silent about memory gets a share of the machine's: one hog then is ended before the kernel looks for
    something else to end. /tmp and /dev/shm, both full, leave a part of the memory, or filling them would end what fills them.
    """
    memory = environment.memory_mb or int(_machine_memory_mb() * _MEMORY_SHARE)
    storage = environment.storage_mb or STORAGE_MB
    return Bounds(
        cpus=environment.cpus or None,
        memory_mb=memory,
        storage_mb=storage,
        processes=PROCESSES,
        inodes=INODES,
        tmp_mb=max(1, min(_TMP_MB, storage, int(memory * _TMP_SHARE))),
    )


def _machine_memory_mb() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
