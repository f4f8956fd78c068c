"""To more privilege: programs that lend it, capabilities, terminals, limits."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import resource
import subprocess
import termios

from inside.kit import Inert, attack, facts, field

# CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, SYS_CHROOT, SETFCAP
_NEEDED = sum(1 << number for number in (0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 31))


@attack
def have_capabilities() -> str | None:
    """Have a capability that no work in a sandbox needs, or that could be had."""
    for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"):
        mask = int(field("/proc/self/status", name), 16)
        allowed = _NEEDED if os.geteuid() == 0 and name in ("CapEff", "CapPrm", "CapBnd") else 0
        if mask & ~allowed:
            return f"{name} {mask & ~allowed:x}"
    return None


@attack
def gain_by_setuid() -> str | None:
    """Become root by a program that runs as its owner."""
    if os.geteuid() == 0:
        raise OSError("it is root already")
    if not os.stat(facts["setuid"]).st_mode & 0o4000:
        raise Inert
    told = subprocess.run([facts["setuid"], "-u"], capture_output=True, text=True, check=False)
    return f"runs as {told.stdout.strip()}" if told.stdout.strip() == "0" else None


@attack
def gain_by_file_capabilities() -> str | None:
    """Get a capability from a program that lends it."""
    if not os.getxattr(facts["lending"], "security.capability"):
        raise Inert
    told = subprocess.run(
        [facts["lending"], "CapEff", "/proc/self/status"], capture_output=True, text=True, check=False
    )
    mask = int(told.stdout.split()[1], 16)
    return f"capabilities {mask:x}" if mask & ~(_NEEDED if os.geteuid() == 0 else 0) else None


@attack
def permit_new_privileges() -> str | None:
    """Run without the promise that no program gives new privileges."""
    return None if field("/proc/self/status", "NoNewPrivs") == "1" else "new privileges can be had"


@attack
def type_into_a_terminal() -> str | None:
    """Put words into the mouth of whoever reads the terminal next."""
    pid, master = pty.fork()
    if pid == 0:
        try:
            fcntl.ioctl(0, termios.TIOCSTI, b"x")
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
    _, status = os.waitpid(pid, 0)
    os.close(master)
    if code := os.waitstatus_to_exitcode(status):
        raise OSError(code, os.strerror(code))
    return "typed"


@attack
def raise_limits() -> str | None:
    """Lift a limit that was set on the process."""
    resource.setrlimit(resource.RLIMIT_NPROC, (50, 50))
    try:
        resource.setrlimit(resource.RLIMIT_NPROC, (60, 60))
    except ValueError as error:
        raise OSError(errno.EPERM, str(error)) from error
    return "a hard limit was raised"


@attack
def be_the_machines_root() -> str | None:
    """Be the root of the machine, who owns its settings."""
    owner = os.stat("/proc/sys/kernel/core_pattern").st_uid
    return "the machine's root is root here" if owner == 0 == os.geteuid() else None
