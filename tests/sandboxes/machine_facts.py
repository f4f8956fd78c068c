"""A machine with something to be found on it: processes, files, sockets, shared memory and keys for attacks to aim at."""

from __future__ import annotations

import ctypes
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from inside import kit

NAMESPACES = ("pid", "net", "ipc", "uts", "mnt", "cgroup", "user")
PACKET = "/task_packet"


@contextmanager
def machine() -> Iterator[dict[str, Any]]:
    """The facts that attacks are told outside of a sandbox; ``told_inside`` has those for within."""
    with ExitStack() as stack:
        place = Path(tempfile.mkdtemp(prefix="bakeoff-machine-"))
        stack.callback(shutil.rmtree, place)
        place.chmod(0o755)
        (place / "secret").write_text("secret")
        packet = place / "packet"
        packet.mkdir()
        (packet / "task.json").write_text("{}")
        (place / "own").mkdir()
        (place / "own" / "task.json").write_text("{}")  # what an attack outside may change
        mark = str(random.randrange(10**8, 10**9))
        process = stack.enter_context(subprocess.Popen(["/bin/sleep", mark]))
        stack.callback(process.kill)
        name = f"bakeoff-{mark}"
        loopback = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for address in ("\0" + name, str(place / "socket")):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen()
        yield {
            "namespaces": {each: os.readlink(f"/proc/self/ns/{each}") for each in NAMESPACES},
            "filters": int(kit.field("/proc/self/status", "Seccomp_filters")),
            "processes": [mark],
            "pids": [process.pid],
            "secret": str(place / "secret"),
            "port": loopback.getsockname()[1],
            "abstract": name,
            "socket": str(place / "socket"),
            "shm_key": _shared_memory(stack),
            "queue": _queue(stack, name),
            "key": _key(name),
            "packet": str(place / "own" / "task.json"),
            "packet_folder": str(packet),
            "setuid": "/app/setuid",
            "lending": "/app/lending",
        }


def told_inside(facts: dict[str, Any]) -> str:
    """The same as an environment variable for a sandbox, where the packet is mounted."""
    return json.dumps({**facts, "packet": f"{PACKET}/task.json", "inside": True})


def _shared_memory(stack: ExitStack) -> int:
    key = random.randrange(1 << 20, 1 << 30)
    number = kit.checked(kit.libc.shmget(key, 4096, 0o1666), "shmget")
    stack.callback(kit.libc.shmctl, number, 0, None)
    kit.libc.shmat.restype = ctypes.c_void_p
    address = kit.libc.shmat(number, None, 0)
    ctypes.memmove(address, b"shared", 6)
    kit.libc.shmdt(ctypes.c_void_p(address))
    return key


def _queue(stack: ExitStack, name: str) -> str:
    os.close(kit.call("mq_open", name.encode(), os.O_RDWR | os.O_CREAT, 0o666, None))
    stack.callback(lambda: kit.call("mq_unlink", name.encode()))
    return name


def _key(name: str) -> str:
    """A key in a new session of this thread, as a login has one; what is started from here inherits it."""
    kit.call("keyctl", 1, 0)
    kit.call("add_key", b"user", name.encode(), b"secret", 6, -3)
    return name
