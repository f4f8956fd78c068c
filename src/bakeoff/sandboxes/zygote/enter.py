"""What a forked child of the zygote does between fork and execve, to become a command inside a sandbox.

Nothing is imported and nothing is looked up on the interpreter's path in here: after the namespaces are entered the
file system belongs to the sandbox. The process is not dumpable until execve, so that code already inside can neither
trace it nor read its memory or descriptors.
"""

import errno
import fcntl
import os
import signal
import socket
import stat
import struct
import termios

from . import seccomp, wire
from . import syscalls as sys_

# CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, SYS_CHROOT, SETFCAP
KEPT = sum(1 << number for number in (0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 31))
EVERY = (1 << 64) - 1
NAMESPACES = sys_.CLONE_NEWUSER | sys_.CLONE_NEWNS | sys_.CLONE_NEWIPC | sys_.CLONE_NEWUTS
_FOUND_BUT_UNUSABLE = (errno.EACCES, errno.EPERM, errno.ENOEXEC)
_RESET = tuple(
    signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
)  # nohup, `&` in a script and Python leave some ignored


class Guard:
    """How the processes of a sandbox are held: every protection is on but those that ``without`` names.

    Made once for each such set: to assemble the filter takes longer than all else that starts a command.
    """

    def __init__(self, many_ids: bool, without: frozenset[str]) -> None:
        self.many_ids = many_ids
        self.world = "world" not in without
        self.proc_sys = "proc-sys" not in without
        self.new_privileges = "new-privileges" in without
        self.dumpable = int("entering" in without)
        self.user_namespaces = "user-namespaces" in without
        self.program = seccomp.program(without.intersection(seccomp.GROUPS))
        self.filter = sys_.Filter(self.program)
        self.kept = EVERY if "capabilities" in without else KEPT


def enter(pidfd: int, namespaces: int, guard: Guard) -> None:
    """Enter the namespaces of the sandbox whose first process is ``pidfd``; that of process ids took the fork.

    That of control groups is a new one, in which the group that this process has joined by now is the root.
    """
    sys_.prctl(sys_.PR_SET_DUMPABLE, guard.dumpable)
    sys_.setns(pidfd, namespaces)
    sys_.unshare(sys_.CLONE_NEWCGROUP)


def become(uid: int, gid: int, groups: list[int], kept: int, guard: Guard) -> None:
    """Take the ids, give up every capability but ``kept``, and forbid new privileges."""
    guard.filter.install()  # first, because with new privileges allowed it takes a capability
    sys_.drop_bounding(kept)
    if guard.many_ids:
        os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    sys_.set_capabilities(kept)
    if not guard.new_privileges:
        sys_.prctl(sys_.PR_SET_NO_NEW_PRIVS, 1)
    sys_.prctl(sys_.PR_SET_DUMPABLE, guard.dumpable)  # a change of ids may have set it


def open_terminal(rows: int, columns: int) -> tuple[int, int]:
    """A new terminal of the sandbox itself, whatever code inside has put in place of /dev/ptmx; it is owned by who opens it."""
    master = os.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if os.fstat(master).st_rdev != os.makedev(5, 2):
        raise OSError(errno.ENODEV, "/dev/pts/ptmx is not a terminal multiplexer")
    fcntl.ioctl(master, 0x40045431, struct.pack("i", 0))  # TIOCSPTLCK: unlock
    # TIOCGPTPEER opens the other end without a path
    slave = fcntl.ioctl(master, 0x5441, os.O_RDWR | os.O_NOCTTY)
    resize(slave, rows, columns)
    return master, slave


def run(argv: list[bytes], env: dict[bytes, bytes], cwd: bytes) -> None:
    """Execute the command, looked up on its own PATH; does not return."""
    for number in _RESET:
        signal.signal(number, signal.SIG_DFL)
    try:
        os.chdir(cwd)
    except OSError as error:
        fail(126, b"cannot enter the folder " + cwd + b": " + (error.strerror or "").encode())
    name = argv[0] if argv else b""
    if not name:
        fail(127, b"an empty command")
    folders = [b""] if b"/" in name else env.get(b"PATH", b"/usr/local/bin:/usr/bin:/bin").split(b":")
    unusable = 0
    for folder in folders:
        path = folder.rstrip(b"/") + b"/" + name if folder else name
        try:
            if folder and not stat.S_ISREG(os.stat(path).st_mode):
                continue
            execute(path, argv, env)
        except OSError as error:
            if error.errno in _FOUND_BUT_UNUSABLE:
                unusable = error.errno
            elif error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
                fail(126, name + b": " + (error.strerror or "").encode())
    if unusable:
        fail(126, name + b": " + os.strerror(unusable).encode())
    if b"/" in name and os.path.exists(name):
        fail(127, name + b": its interpreter was not found")
    fail(127, name + b": not found")


def execute(path: bytes, argv: list[bytes], env: dict[bytes, bytes]) -> None:
    try:
        os.execve(path, argv, env)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        os.execve(b"/bin/sh", [b"sh", path, *argv[1:]], env)  # a script with no first line, as execvp would


def fail(code: int, message: bytes) -> None:
    os.write(2, message + b"\n")
    os._exit(code)


def take_terminal(slave: int) -> None:
    """Make the terminal the controlling one of this session."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


def resize(terminal: int, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def listen(sock: socket.socket, message: wire.Message) -> None:
    """Listen on the loopback of the present network namespace, and pass the socket to the harness."""
    try:
        door = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(("127.0.0.1", message["port"]))
        door.listen(128)
        wire.send(sock, {"id": message["id"], "port": door.getsockname()[1]}, [door.fileno()])
    except (OSError, OverflowError) as error:
        wire.send(sock, {"id": message["id"], "error": f"cannot listen on port {message['port']}: {error}"})
