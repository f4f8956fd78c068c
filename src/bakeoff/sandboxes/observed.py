"""What holds in a sandbox on this machine, seen from inside one: findings for ``doctor``."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping

from bakeoff.images.host import host_root
from bakeoff.sandboxes.base import SandboxBackend, Support
from bakeoff.sandboxes.limits import PROCESSES, STORAGE_MB
from bakeoff.sandboxes.probe import Check
from bakeoff.tasks.model import Environment, Network, NetworkMode

_NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")
_LOOK = f"cat /proc/self/status; for name in {' '.join(_NAMESPACES)}; do readlink /proc/self/ns/$name; done"
_ENV = {"PATH": "/usr/bin:/bin"}
_LIMITS = {"environment.memory_mb": "memory", "environment.cpus": "processors", "environment.storage_mb": "disk"}


async def observed(backend: SandboxBackend) -> tuple[Check, ...]:
    """Opens a sandbox on the host root and looks around in it. Raises SandboxError where that fails."""
    environment = Environment(root="host", network=Network(mode=NetworkMode.NONE))
    async with backend.open(environment, host_root(), (), "doctor/doctor") as box:
        process = await box.start(["/bin/sh", "-c", _LOOK], env=_ENV, cwd="/")
        await process.stdin.close()
        said = (await _read(process.stdout)).decode("utf-8", "replace")
        await process.wait()
    return (protections(said, _own_namespaces()), limits(backend))


async def _read(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in stream])


def _own_namespaces() -> Mapping[str, str]:
    return {name: os.readlink(f"/proc/self/ns/{name}") for name in _NAMESPACES}


def protections(said: str, outside: Mapping[str, str]) -> Check:
    """What a command inside said of itself, against the namespaces of this process."""
    status = dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)
    shared = [name for name, own in outside.items() if own in said.splitlines()]
    missing = [f"its own {name} namespace" for name in shared]
    if status.get("NoNewPrivs") != "1":
        missing.append("no new privileges")
    if status.get("Seccomp") != "2":
        missing.append("the filter of system calls")
    if int(status.get("CapBnd", "f" * 16), 16) & _DANGEROUS:
        missing.append("the bounding of capabilities")
    if missing:
        return Check("protections", False, f"missing in a sandbox: {', '.join(missing)}", "report it: this should hold")
    held = f"namespaces of its own ({', '.join(outside)}), filtered system calls, no new privileges, few capabilities"
    return Check("protections", True, held)


_DANGEROUS = sum(1 << number for number in (2, 12, 13, 16, 17, 19, 21, 22, 25, 27))
"""DAC_READ_SEARCH, NET_ADMIN, NET_RAW, SYS_MODULE, SYS_RAWIO, SYS_PTRACE, SYS_ADMIN, SYS_BOOT, SYS_TIME, MKNOD."""


def limits(backend: SandboxBackend) -> Check:
    """Which limits hold exactly, which nearly, and the remedy. ``backend`` has been checked."""
    answers = backend.supports(Environment(fields=tuple(_LIMITS)))
    by_answer = {
        answer: [name for field, name in _LIMITS.items() if answers[field] is answer]
        for answer in (Support.ENFORCED, Support.APPROXIMATED)
    }
    said = [f"{', '.join(names)} {answer}" for answer, names in by_answer.items() if names]
    said.append(f"where a task is silent: {PROCESSES:,} processes, {STORAGE_MB >> 10} GiB of disk")
    return Check("limits", True, "; ".join(said), backend.unlimited)
