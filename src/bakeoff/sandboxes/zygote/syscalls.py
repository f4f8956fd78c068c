"""The system calls that the standard library of Python 3.11 does not have."""

import ctypes
import os
import signal
import struct

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18

PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4

_libc = ctypes.CDLL(None, use_errno=True)
_locked = ctypes.PyDLL(None, use_errno=True)  # calls that keep the interpreter's lock, as a fork must
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442  # the same on every architecture
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, 0x80000
_MOVE_MOUNT_F_EMPTY_PATH, _MOVE_MOUNT_T_EMPTY_PATH = 4, 0x40
_SYS_OPENAT2, _RESOLVE_NO_SYMLINKS = 437, 4
_MNT_DETACH = 2
_SYS_CLONE3, _CLONE_INTO_CGROUP = 435, 0x200000000
_MOUNT_ATTR_IDMAP = 0x00100000
_SECCOMP_MODE_FILTER = 2


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, flags: int) -> None:
    """Enter namespaces: all that ``flags`` names where ``fd`` is a pidfd, else the one that ``fd`` is."""
    _check(_libc.setns(fd, flags), "setns")


def fork_into(group: int) -> int:
    """As os.fork, with the child born in the control group (version 2) whose folder is open as ``group``."""
    arguments = struct.pack("=11Q", _CLONE_INTO_CGROUP, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, group)
    _locked.PyOS_BeforeFork()
    pid = _locked.syscall(_SYS_CLONE3, arguments, len(arguments))
    if pid == 0:
        _locked.PyOS_AfterFork_Child()
    else:
        number = ctypes.get_errno()
        _locked.PyOS_AfterFork_Parent()
        ctypes.set_errno(number)
    return _check(pid, "clone3")


def prctl(option: int, first: int = 0) -> None:
    zero = ctypes.c_ulong(0)
    _check(_libc.prctl(option, ctypes.c_ulong(first), zero, zero, zero), "prctl")


class Filter:
    """A seccomp program, laid out as the kernel takes it.

    Made before a fork: in the child that would take nearly as long as the call itself (measured: 0.28 ms in place of 0.16).
    """

    def __init__(self, program: bytes) -> None:
        self._lines = ctypes.create_string_buffer(program, len(program))
        whole = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(self._lines))
        zero = ctypes.c_ulong(0)
        self._arguments = (PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), whole, zero, zero)

    def install(self) -> None:
        """Put this thread, and all that it will start, under the filter, for ever and on top of any it has.

        Needs no_new_privs, or CAP_SYS_ADMIN in the present user namespace. Raises OSError where the kernel has no seccomp.
        """
        _check(_libc.prctl(*self._arguments), "seccomp")


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    names = (os.fsencode(source), os.fsencode(target), kind.encode())
    _check(_libc.mount(*names, ctypes.c_ulong(flags), data.encode() or None), f"mount {source} on {target}")


def file_system(path: str) -> int:
    """The magic number of the file system on which ``path`` lies."""
    buffer = ctypes.create_string_buffer(256)
    _check(_libc.statfs(os.fsencode(path), buffer), "statfs")
    return int.from_bytes(buffer.raw[:8], "little")


def bind(source: str, target: str) -> None:
    mount(source, target, "", MS_BIND)


def bind_read_only(source: str, target: str, flags: int) -> None:
    """Bind ``source`` read-only; ``flags`` are those that the mount has and that may not be taken off in a user namespace."""
    bind(source, target)
    mount("none", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY | flags)


def open_tree(path: str) -> int:
    """A copy of the mount of the folder ``path``, attached to nothing."""
    return _check(
        _libc.syscall(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(path), _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC),
        f"open_tree {path}",
    )


def _set_attributes(tree: int, attributes: int, userns: int, what: str) -> None:
    packed = struct.pack("=QQQQ", attributes, 0, 0, userns)
    _check(_libc.syscall(_SYS_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, packed, len(packed)), f"mount_setattr {what}")


def move_mount(tree: int, place: int) -> None:
    """Attach the mount ``tree`` over the open folder ``place``."""
    _check(
        _libc.syscall(_SYS_MOVE_MOUNT, tree, b"", place, b"", _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH),
        "move_mount",
    )


def unmount(target: str) -> None:
    _check(_libc.umount2(os.fsencode(target), _MNT_DETACH), f"umount {target}")


def bind_mapped(source: str, target: str, userns: int) -> None:
    """Bind ``source`` with its owners shifted by the mapping of the user namespace ``userns``."""
    tree = open_tree(source)
    try:
        _set_attributes(tree, _MOUNT_ATTR_IDMAP, userns, source)
        _check(
            _libc.syscall(_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH),
            f"move_mount {target}",
        )
    finally:
        os.close(tree)


def open_folder(path: str) -> int:
    """The folder at ``path``, for its place alone; no link on the way is followed."""
    how = struct.pack("=QQQ", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0, _RESOLVE_NO_SYMLINKS)
    return _check(_libc.syscall(_SYS_OPENAT2, _AT_FDCWD, os.fsencode(path), how, len(how)), f"open {path}")


def unmount_here() -> None:
    """Detach the mount whose root is the working directory."""
    _check(_libc.umount2(b".", _MNT_DETACH), "umount2")


def set_capabilities(mask: int) -> None:
    """Make ``mask`` the permitted and effective set of this thread, and its inheritable set empty."""
    header = struct.pack("=Ii", 0x20080522, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    _check(_libc.capset(header, struct.pack("=IIIIII", low, low, 0, high, high, 0)), "capset")


def drop_bounding(keep: int) -> None:
    """Take every capability that is not in ``keep`` from the bounding set, and empty the ambient one."""
    for capability in range(64):
        if not keep >> capability & 1 and _libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
            break  # the first number that this kernel does not know
    _libc.prctl(PR_CAP_AMBIENT, ctypes.c_ulong(PR_CAP_AMBIENT_CLEAR_ALL), ctypes.c_ulong(0), 0, 0)
