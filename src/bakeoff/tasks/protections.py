"""The protections of a sandbox by name: what each stops, and which of them a task may have lifted. Data.

A task comes from strangers. It may lift what at worst lets its own sandbox be misused by what runs in it. It may never lift
what another sandbox, the machine or the verdict rests on; those names are there for tests, which show that a protection is needed.
"""

from __future__ import annotations

from msgspec import Struct

from bakeoff.errors import InputError, nearest


class Protection(Struct, frozen=True):
    """``stops``: what could be done without it. ``kept``: why no task may lift it; empty where tasks may."""

    name: str
    stops: str
    kept: str = ""


PROTECTIONS: tuple[Protection, ...] = (
    Protection(
        "world",
        "the agent's processes seeing, tracing or killing those that judge, and writing into their folders",
        "the verdict rests on it",
    ),
    Protection(
        "entering",
        "code inside reading or tracing the process that enters to start a command",
        "that process has more rights than what runs inside",
    ),
    Protection(
        "capabilities",
        "mounts, raw packets, tracing of the first process, another name of the machine",
        "the other protections could be undone with them",
    ),
    Protection("new-privileges", "programs that run as their owner, such as su and sudo, and file capabilities"),
    Protection(
        "proc-sys", "changes of the kernel's settings that a sandbox has of its own, such as those for shared memory"
    ),
    Protection("personality", "programs at known addresses, as debuggers and emulators want them"),
    Protection(
        "process-memory",
        "reading memory and taking open files of other processes, other than by tracing",
        "a service that the agent left could take open files of the judge who talks to it",
    ),
    Protection("user-namespaces", "namespaces and mounts of one's own, as container tools and browsers make them"),
    Protection("terminal", "putting characters into the input of one's own terminal"),
    Protection(
        "io-uring",
        "queues of system calls that no filter sees",
        "other protections can be passed by through such a queue",
    ),
    Protection(
        "keyring",
        "the kernel's keys",
        "they belong to a user of the machine, whatever namespace asks for them",
    ),
    Protection(
        "sockets",
        "sockets other than unix, internet, and netlink for routes and lists of sockets",
        "some of them lead out of the sandbox: to the host of a virtual machine, for one",
    ),
    Protection(
        "kernel",
        "calls for the whole machine, seldom used parts of the kernel, and calls that are newer than the filter's table",
        "the whole machine rests on them",
    ),
)

LIFTABLE: tuple[str, ...] = tuple(protection.name for protection in PROTECTIONS if not protection.kept)
"""The names that a task's ``widen`` may have."""


def refused(name: str, where: str, field: str) -> InputError | None:
    """What is wrong with ``name`` as an entry of ``widen``, None where nothing is."""
    if name in LIFTABLE:
        return None
    kept = next((protection.kept for protection in PROTECTIONS if protection.name == name), "")
    return InputError(
        f"no task may lift this protection: {kept}" if kept else "not a protection",
        where=where,
        field=field,
        found=repr(name),
        wanted=f"any of {', '.join(LIFTABLE)}",
        nearest="" if kept else nearest(name, LIFTABLE),
    )
