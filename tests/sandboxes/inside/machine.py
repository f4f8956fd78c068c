"""At the machine and its other tenants: what of them can be seen or reached."""

from __future__ import annotations

import ctypes
import os
import pty
import socket

from inside.kit import Inert, attack, call, checked, facts, libc, read


def _shares(name: str) -> str | None:
    link = os.readlink(f"/proc/self/ns/{name}")
    return link if link == facts["namespaces"][name] else None


def _define(name: str) -> None:
    def function() -> str | None:
        return _shares(name)

    function.__doc__ = f"Share the machine's {name} namespace."
    function.__name__ = f"share_{name}_namespace"
    attack(function)


for _name in ("pid", "net", "ipc", "uts", "mnt", "cgroup", "user"):
    _define(_name)


@attack
def see_the_machines_processes() -> str | None:
    """Find a process of the machine, or of another sandbox, in /proc."""
    marks = [mark.encode() for mark in facts["processes"]]
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                line = read(f"/proc/{name}/cmdline")
            except OSError:
                continue
            if any(mark in line for mark in marks):
                return line.replace(b"\0", b" ").decode()
    return None


@attack
def signal_the_machines_processes() -> str | None:
    """Signal a process of the machine by its number."""
    for pid in facts["pids"]:
        try:
            os.kill(pid, 0)
            if facts["processes"][0].encode() in read(f"/proc/{pid}/cmdline"):
                return f"{pid} is reached"
        except OSError:
            continue
    return None


@attack
def read_the_machines_files() -> str | None:
    """Read a file of the machine that everybody may read, by every path to it."""
    secret = facts["secret"]
    here = os.open(".", os.O_RDONLY)
    ways = ["", "/proc/self/root", "/proc/1/root", "/proc/self/cwd" + "/.." * 12, f"/proc/self/fd/{here}" + "/.." * 12]
    ways += [f"/proc/{os.getppid()}/root", f"/proc/self/task/{os.getpid()}/root", "/.." * 12]
    for way in ways:
        try:
            return f"{way}: {read(way + secret).decode()}"
        except OSError:
            continue
    return None


@attack
def find_devices() -> str | None:
    """Find disks, terminals and other devices of the machine."""
    usual = {"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "pts", "shm"}
    usual |= {"fd", "stdin", "stdout", "stderr", "core", "mqueue"}
    more = sorted(set(os.listdir("/dev")) - usual)
    return ", ".join(more[:20]) or None


@attack
def see_sysfs() -> str | None:
    """See the machine's devices and settings in /sys."""
    return ", ".join(os.listdir("/sys")) or None


@attack
def see_cgroups() -> str | None:
    """Learn where in the machine's hierarchy of cgroups it is."""
    lines = read("/proc/self/cgroup", 1 << 16).decode().split()
    away = [line for line in lines if not line.endswith(":/") and "/../" not in line]
    return ", ".join(away) or None


@attack
def reach_the_machines_loopback() -> str | None:
    """Connect to a service that listens on the machine's loopback."""
    with socket.create_connection(("127.0.0.1", facts["port"]), timeout=2):
        return "connected"


@attack
def reach_abstract_sockets() -> str | None:
    """Connect to a unix socket that has a name and no path."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        client.connect("\0" + facts["abstract"])
        return "connected"


@attack
def reach_unix_sockets() -> str | None:
    """Connect to a unix socket of the machine by its path."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        client.connect(facts["socket"])
        return "connected"


@attack
def attach_shared_memory() -> str | None:
    """Attach System V shared memory of the machine."""
    number = checked(libc.shmget(facts["shm_key"], 0, 0), "shmget")
    libc.shmat.restype = ctypes.c_void_p
    address = libc.shmat(number, None, 0o10000)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "shmat")
    return ctypes.string_at(address, 6).decode()


@attack
def open_message_queues() -> str | None:
    """Open a POSIX message queue of the machine."""
    return f"descriptor {call('mq_open', facts['queue'].encode(), os.O_RDONLY, 0, None)}"


@attack
def read_the_machines_terminal() -> str | None:
    """Open the terminal that the harness was started from."""
    pid, master = pty.fork()
    if pid == 0:
        os._exit(0 if os.open("/dev/tty", os.O_RDWR) else 1)
    _, status = os.waitpid(pid, 0)
    os.close(master)
    if status:
        raise Inert
    os.close(os.open("/dev/tty", os.O_RDWR))
    return "opened"
