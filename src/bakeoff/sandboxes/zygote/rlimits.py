"""Limits of single processes: what always holds, and what stands in for control groups where there are none.

Set in the child that enters, before the namespaces: afterwards no limit could be raised to what it should be, and code
inside can raise none. What stands in is approximate: memory is bounded for each process and not for all together, the
number of processes for each id inside, and processors can be chosen again by the command itself.
"""

import os
import resource

_MIB = 1 << 20
# As docker does since version 29: programs that loop over all descriptors are quick, select() works, and what needs
# more asks for it.
_FILES = (1024, 524_288)
_ALWAYS = (
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_MEMLOCK, 8 * _MIB),  # the kernel's own default; locked memory is nobody's to reclaim
    (resource.RLIMIT_MSGQUEUE, 819_200),  # likewise
    (resource.RLIMIT_RTPRIO, 0),  # a real-time process could hold a processor for ever
    (resource.RLIMIT_NICE, 0),
)
_COUNTS_PER_NAMESPACE = (5, 14)  # before this kernel the processes of all sandboxes of an id would count together
# Java commits a 64th of the machine's memory when it starts, and a quarter of a GiB beside; node needs 80 MiB. Less than
# that would break programs that use little. RLIMIT_AS is no choice: at 512 MiB node does not start, nor Java at 2 GiB,
# since both reserve much more than they use.
_LEAST_DATA = 256 * _MIB + os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 64


def apply(limits: dict[str, float], controllers: frozenset[str], number: int) -> None:
    """Limit this process and what it starts.

    ``limits`` has any of ``memory`` (bytes), ``processes``, ``cpus`` (processors), ``files`` (open at once) and
    ``file_bytes`` (size of one file), 0 or nothing being no limit. For those of memory, pids, cpu in ``controllers`` a
    group limits instead. ``number`` is the sandbox's: its processors are chosen by it. What judges in a sandbox is to have no
    ``processes``: without groups all of one id in the sandbox are counted together, the agent's with those that judge.
    """
    for which, value in _ALWAYS:
        _set(which, value, value)
    files = int(limits.get("files", 0))
    _set(resource.RLIMIT_NOFILE, min(_FILES[0], files or _FILES[0]), files or _FILES[1])
    if size := int(limits.get("file_bytes", 0)):
        _set(resource.RLIMIT_FSIZE, size, size)
    if (memory := int(limits.get("memory", 0))) and "memory" not in controllers:
        data = max(memory, _LEAST_DATA)
        _set(resource.RLIMIT_DATA, data, data)
    if (
        (processes := int(limits.get("processes", 0)))
        and "pids" not in controllers
        and counts_apart(os.uname().release)
    ):
        _set(resource.RLIMIT_NPROC, processes, processes)
    if (cpus := limits.get("cpus", 0)) and "cpu" not in controllers:
        os.sched_setaffinity(0, processors(os.sched_getaffinity(0), cpus, number))


def processors(available: set[int], cpus: float, number: int) -> set[int]:
    """As many of the ``available`` as ``cpus`` rounded up, others for the next ``number``."""
    ordered = sorted(available)
    count = min(len(ordered), max(1, int(-(-cpus // 1))))
    return {ordered[(number * count + step) % len(ordered)] for step in range(count)}


def counts_apart(release: str) -> bool:
    """Whether the kernel counts processes for each user namespace; ``release`` as uname tells it."""
    parts = [part for part in release.replace("-", ".").split(".")[:2] if part.isdecimal()]
    return len(parts) == 2 and (int(parts[0]), int(parts[1])) >= _COUNTS_PER_NAMESPACE


def _set(which: int, soft: int, hard: int) -> None:
    """Set a limit, or the most that is permitted where that is less."""
    try:
        resource.setrlimit(which, (soft, hard))
    except ValueError:
        _, most = resource.getrlimit(which)
        resource.setrlimit(which, (min(soft, most), most))
