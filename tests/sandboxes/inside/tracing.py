"""Into other processes: what is traced, read, signalled, or inherited from whoever starts commands."""

from __future__ import annotations

import ctypes
import os
import signal

from inside.kit import Child, Inert, attack, call, checked, facts, field, iovec, libc, read

_SEIZE, _DETACH, _ATTACH = 0x4206, 17, 16


def _seize(pid: int) -> None:
    call("ptrace", _SEIZE, pid, 0, 0)


@attack
def trace_first() -> str | None:
    """Trace process 1."""
    with Child() as child:
        _seize(child)  # so it can
    for request in (_SEIZE, _ATTACH):
        try:
            call("ptrace", request, 1, 0, 0)
            return "process 1 is traced"
        except OSError as error:
            last = error
    raise last


@attack
def read_first() -> str | None:
    """Read process 1 through /proc."""
    with Child() as child:
        if not read(f"/proc/{child}/maps") or not os.listdir(f"/proc/{child}/fd"):
            raise Inert
    found = []
    for name in ("mem", "environ", "maps", "auxv", "stack", "syscall", "io"):
        try:
            with open(f"/proc/1/{name}", "rb", buffering=0) as stream:
                if name == "mem" or stream.read(64):
                    found.append(name)
        except OSError:
            continue
    for name in ("root", "cwd", "exe", "fd/0", "fd/1", "fd/3", "ns/mnt", "ns/user", "ns/pid"):
        try:
            found.append(f"{name} is {os.readlink(f'/proc/1/{name}')}")
        except OSError:
            continue
    return ", ".join(found) or None


@attack
def read_first_memory() -> str | None:
    """Read the memory of process 1 with a system call of its own."""
    buffer = ctypes.create_string_buffer(16)
    call("process_vm_readv", 1, iovec(ctypes.addressof(buffer), 16), 1, iovec(0x400000, 16), 1, 0)
    return "its memory was read"


@attack
def read_memory() -> str | None:
    """Read another process's memory with a system call that leaves no trace in it."""
    buffer, there = ctypes.create_string_buffer(16), ctypes.create_string_buffer(b"from a process..")
    with Child() as child:
        here = iovec(ctypes.addressof(buffer), 16)
        call("process_vm_readv", child, here, 1, iovec(ctypes.addressof(there), 16), 1, 0)
    return buffer.value.decode()


@attack
def take_descriptor() -> str | None:
    """Take an open file out of another process."""
    with Child() as child:
        pidfd = os.pidfd_open(child)
        return f"descriptor {call('pidfd_getfd', pidfd, 0, 0)}"


@attack
def compare_kernel_objects() -> str | None:
    """Learn the order of kernel addresses by comparing two processes' objects."""
    with Child() as child:
        return f"ordered: {call('kcmp', os.getpid(), child, 1, 0, 0)}"


@attack
def find_descriptors() -> str | None:
    """Use a descriptor that whoever started the command left open."""
    mine = os.open("/", os.O_RDONLY)
    listed = {int(name) for name in os.listdir("/proc/self/fd")}
    if mine not in listed:
        raise Inert
    os.close(mine)
    # Those of this program itself: the pipe to its parent and the listing.
    known = {0, 1, 2, *facts.get("descriptors", ())}
    left: list[str] = []
    for number in sorted(listed - known - {mine}):
        try:
            link = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if not link.startswith("pipe:") and link != f"/proc/{os.getpid()}/fd":
            left.append(f"{number}: {link}")
    return ", ".join(left) or None


@attack
def kill_first() -> str | None:
    """Kill process 1, and with it the world that it is the first of."""
    if os.getpid() == 1:
        raise Inert
    os.kill(1, signal.SIGKILL)
    os.kill(1, signal.SIGSTOP)
    os.kill(1, signal.SIGTERM)
    try:
        os.kill(1, signal.SIGSEGV)
    finally:
        state = read("/proc/1/stat").rpartition(b")")[2].split()[0]
    return None if state in (b"S", b"R") else f"it is in the state {state.decode()}"


@attack
def enter_first() -> str | None:
    """Enter the namespaces of process 1."""
    namespace = os.open("/proc/1/ns/mnt", os.O_RDONLY)
    checked(libc.setns(namespace, 0), "setns")
    return "entered"


def _unfiltered(process: str) -> str | None:
    """The harness may be filtered itself, and its filters are inherited."""
    filters = int(field(f"/proc/{process}/status", "Seccomp_filters"))
    return None if filters > facts["filters"] else f"{filters} filters"


@attack
def unfiltered() -> str | None:
    """Run in a process that no filter of system calls watches."""
    return _unfiltered("self")


@attack
def unfiltered_first() -> str | None:
    """Find a first process that no filter of system calls watches."""
    return _unfiltered("1")
