"""What no process in a sandbox may ask of the kernel: the table that the seccomp filter is assembled from.

A row: the system call; its numbers on x86_64, i386 and aarch64 (NONE where there is no such call); the error answered;
the terms on its arguments that must all hold for that (no term: always); what the call would open. Of several rows for one
call the first that holds answers. EPERM is said of things that are forbidden; ENOSYS, EAFNOSUPPORT and EPROTONOSUPPORT where
programs are used to kernels that lack the thing, and have another way.

Docker's default profile is the measure: what it refuses without added capabilities is refused here too, except

- the i386 calls of old libraries for files, signals, clocks and niceness (oldstat, oldfstat, oldlstat, readdir, signal,
  sigaction, sgetmask, ssetmask, sigpending, sigsuspend, olduname, oldolduname, nice): they do what allowed calls do;
- numbers that no kernel in use answers (break, stty, gtty, ftime, prof, lock, mpx, ulimit, profil, idle, bdflush,
  create_module, get_kernel_syms, query_module, getpmsg, putpmsg, afs_syscall, tuxcall, security, vserver);
- uprobe: the kernel jumps there itself from a page of its own when somebody outside probes a program; to others it is SIGILL;
- file_getattr, file_setattr: the attributes of files that ioctl, which must be open, reads and writes too;
- AF_NETLINK for addresses, routes and lists of sockets, and AF_UNIX, AF_INET, AF_INET6, are what remains of socket, where
  docker leaves most families open.

ptrace stays open: a process reaches its own descendants and equals alone, and the filter is asked after a tracer, so that none
gets past it. So do chroot (it crosses nothing that the mount namespace does not end), landlock, seccomp and modify_ldt.
"""

from errno import EAFNOSUPPORT, ENOSYS, EPERM, EPROTONOSUPPORT

NONE = -1
ALL_BITS = 0xFFFFFFFF

Term = tuple[int, int, bool, tuple[int, ...]]
"""The low half of argument number [0], masked by [1], is among the values [3]; or is not, where [2] is False.

The upper half is never looked at, because the kernel does not for any argument named here: ``int`` and ``unsigned int``, and
the flags of clone and unshare, of which it refuses or ignores the rest.
"""

Row = tuple[str, int, int, int, int, tuple[Term, ...], str]


def _is(argument: int, *values: int, mask: int = ALL_BITS) -> Term:
    return argument, mask, True, values


def _is_not(argument: int, *values: int, mask: int = ALL_BITS) -> Term:
    return argument, mask, False, values


ARCHITECTURES = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7}
"""The kernel's AUDIT_ARCH value of each column."""

MACHINES = {"x86_64": ("x86_64", "i386"), "aarch64": ("aarch64",)}
"""The columns that programs on a machine may use. To others, 32-bit arm, the filter answers with SIGSYS."""

LAST = 470
"""The last number known here, on every architecture. What a later kernel adds can't be judged: ENOSYS, part of ``kernel``."""

X32 = 512, 547
"""Numbers of the x32 ABI that some kernels answered on x86_64 too, without x32's bit. Refused with all of that ABI."""

_NAMESPACES = 0x7E020000
_NAMESPACES_AND_TIME = _NAMESPACES | 0x80  # clone has the signal of the child's end in these bits
_LINUX, _LINUX32, _UNAME26 = 0, 0x8, 0x20000

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
_SOCK_PACKET, _SOCK_TYPE = 10, 0xF
_NETLINK_ROUTE, _NETLINK_SOCK_DIAG = 0, 4

_OTHER_FAMILY = (_is_not(0, AF_UNIX, AF_INET, AF_INET6, AF_NETLINK),)
_AS_PACKET = (_is(0, AF_INET), _is(1, _SOCK_PACKET, mask=_SOCK_TYPE))  # the kernel makes AF_PACKET of it
_OTHER_NETLINK = (_is(0, AF_NETLINK), _is_not(2, _NETLINK_ROUTE, _NETLINK_SOCK_DIAG))

TABLE: tuple[tuple[str, str, tuple[Row, ...]], ...] = (
    (
        "io-uring",
        "io_uring, whose requests no filter sees and whose kernel code has been broken often",
        (
            ("io_uring_setup", 425, 425, 425, ENOSYS, (), "a queue of calls past this filter"),
            ("io_uring_enter", 426, 426, 426, ENOSYS, (), "work on a queue that was inherited"),
            ("io_uring_register", 427, 427, 427, ENOSYS, (), "files and buffers of such a queue"),
        ),
    ),
    (
        "keyring",
        "the kernel's keys, which belong to a user id whatever namespace it is in",
        (
            ("add_key", 248, 286, 217, EPERM, (), "keys left for others of the same id"),
            ("request_key", 249, 287, 218, EPERM, (), "keys of others, and the helper program outside that finds them"),
            ("keyctl", 250, 288, 219, EPERM, (), "all other work on keys"),
        ),
    ),
    (
        "personality",
        "execution domains that undo the kernel's hardening of a process",
        (
            (
                *("personality", 135, 136, 92, EPERM),
                (_is_not(0, _LINUX, _LINUX32, _UNAME26, _UNAME26 | _LINUX32, ALL_BITS),),
                "memory at fixed addresses, at 0, and executable throughout",
            ),
        ),
    ),
    (
        "process-memory",
        "ways into other processes that leave no trace in them",
        (
            ("process_vm_readv", 310, 347, 270, EPERM, (), "reading another's memory"),
            ("process_vm_writev", 311, 348, 271, EPERM, (), "writing another's memory"),
            ("process_madvise", 440, 440, 440, EPERM, (), "paging out another's memory"),
            ("kcmp", 312, 349, 272, EPERM, (), "learning kernel addresses by comparison"),
            ("pidfd_getfd", 438, 438, 438, EPERM, (), "taking another's open files"),
        ),
    ),
    (
        "user-namespaces",
        "new namespaces, others' namespaces, and mounts",
        (
            (
                "unshare",
                272,
                310,
                97,
                EPERM,
                (_is_not(0, 0, mask=_NAMESPACES_AND_TIME),),
                "capabilities in a new namespace",
            ),
            ("clone", 56, 120, 220, EPERM, (_is_not(0, 0, mask=_NAMESPACES),), "capabilities in a new namespace"),
            (
                "clone3",
                435,
                435,
                435,
                ENOSYS,
                (),
                "the same; its flags can't be seen, and libraries fall back to clone",
            ),
            ("setns", 308, 346, 268, EPERM, (), "entering another's namespace"),
            ("listns", 470, 470, 470, EPERM, (), "finding others' namespaces"),
            ("mount", 165, 21, 40, EPERM, (), "file systems of its own choice, parsed by the kernel"),
            ("umount", NONE, 22, NONE, EPERM, (), "what lies below a mount"),
            ("umount2", 166, 52, 39, EPERM, (), "what lies below a mount"),
            ("pivot_root", 155, 217, 41, EPERM, (), "another root"),
            ("open_tree", 428, 428, 428, EPERM, (), "copies of mounts"),
            ("open_tree_attr", 467, 467, 467, EPERM, (), "copies of mounts with other owners"),
            ("move_mount", 429, 429, 429, EPERM, (), "mounts elsewhere"),
            ("fsopen", 430, 430, 430, EPERM, (), "a new file system"),
            ("fsconfig", 431, 431, 431, EPERM, (), "its parameters, parsed by the kernel"),
            ("fsmount", 432, 432, 432, EPERM, (), "its mount"),
            ("fspick", 433, 433, 433, EPERM, (), "the parameters of one that is mounted"),
            ("mount_setattr", 442, 442, 442, EPERM, (), "a read-only mount made writable"),
        ),
    ),
    (
        "sockets",
        "socket families beyond unix, internet, and netlink for routes and lists of sockets",
        (
            (
                "socket",
                41,
                359,
                198,
                EAFNOSUPPORT,
                _OTHER_FAMILY,
                "the virtual machine's host, raw frames, rare drivers",
            ),
            ("socket", 41, 359, 198, EAFNOSUPPORT, _AS_PACKET, "raw frames under an old name"),
            ("socket", 41, 359, 198, EPROTONOSUPPORT, _OTHER_NETLINK, "audit, packet filters, kernel events"),
            ("socketpair", 53, 360, 199, EAFNOSUPPORT, _OTHER_FAMILY, "the same"),
            ("socketpair", 53, 360, 199, EAFNOSUPPORT, _AS_PACKET, "the same"),
            ("socketpair", 53, 360, 199, EPROTONOSUPPORT, _OTHER_NETLINK, "the same"),
            (
                "socketcall",
                NONE,
                102,
                NONE,
                ENOSYS,
                (),
                "the same; its arguments can't be seen, and libraries call socket",
            ),
        ),
    ),
    (
        "terminal",
        "putting words into the mouth of whoever reads the terminal next",
        (
            (
                "ioctl",
                16,
                54,
                29,
                EPERM,
                (_is(1, 0x5412, 0x541C),),
                "TIOCSTI and TIOCLINUX: typed input, pasted selections",
            ),
        ),
    ),
    (
        "kernel",
        "what belongs to the whole machine, rarely used parts of the kernel, and calls newer than this table",
        (
            ("bpf", 321, 357, 280, EPERM, (), "programs in the kernel"),
            ("perf_event_open", 298, 336, 241, EPERM, (), "tracing the machine; often broken"),
            ("userfaultfd", 323, 374, 282, EPERM, (), "stopping the kernel in mid-copy: a tool of exploits"),
            ("fanotify_init", 300, 338, 262, EPERM, (), "watching, and holding up, all use of a file system"),
            ("name_to_handle_at", 303, 341, 264, EPERM, (), "handles of files, for the next call"),
            ("open_by_handle_at", 304, 342, 265, EPERM, (), "files outside the root, by inode"),
            ("kexec_load", 246, 283, 104, EPERM, (), "another kernel"),
            ("kexec_file_load", 320, NONE, 294, EPERM, (), "another kernel"),
            ("init_module", 175, 128, 105, EPERM, (), "code in the kernel"),
            ("finit_module", 313, 350, 273, EPERM, (), "code in the kernel"),
            ("delete_module", 176, 129, 106, EPERM, (), "drivers taken away"),
            ("reboot", 169, 88, 142, EPERM, (), "the machine's, or the sandbox's, end"),
            ("swapon", 167, 87, 224, EPERM, (), "memory of all written to a file"),
            ("swapoff", 168, 115, 225, EPERM, (), "the machine's swap"),
            ("acct", 163, 51, 89, EPERM, (), "a log of all processes"),
            ("syslog", 103, 103, 116, EPERM, (), "the kernel's log, with addresses, and its erasure"),
            ("quotactl", 179, 131, 60, EPERM, (), "quotas of the disks"),
            ("quotactl_fd", 443, 443, 443, EPERM, (), "quotas of the disks"),
            ("sethostname", 170, 74, 161, EPERM, (), "another name, for logs and other tasks' eyes"),
            ("setdomainname", 171, 121, 162, EPERM, (), "another name, for logs and other tasks' eyes"),
            ("settimeofday", 164, 79, 170, EPERM, (), "the machine's clock"),
            ("stime", NONE, 25, NONE, EPERM, (), "the machine's clock"),
            ("clock_settime", 227, 264, 112, EPERM, (), "the machine's clock"),
            ("clock_settime64", NONE, 404, NONE, EPERM, (), "the machine's clock"),
            ("adjtimex", 159, 124, 171, EPERM, (), "the pace of the machine's clock"),
            ("clock_adjtime", 305, 343, 266, EPERM, (), "the pace of the machine's clock"),
            ("clock_adjtime64", NONE, 405, NONE, EPERM, (), "the pace of the machine's clock"),
            ("iopl", 172, 110, NONE, EPERM, (), "the ports of devices"),
            ("ioperm", 173, 101, NONE, EPERM, (), "the ports of devices"),
            ("vm86old", NONE, 113, NONE, EPERM, (), "a mode of the processor with a history of holes"),
            ("vm86", NONE, 166, NONE, EPERM, (), "a mode of the processor with a history of holes"),
            ("vhangup", 153, 111, 58, EPERM, (), "the end of a terminal's session"),
            # Memory policy: rarely needed off big servers, whose programs go on without (numactl, databases warn).
            ("set_mempolicy", 238, 276, 237, EPERM, (), "memory of a node that others count on"),
            ("mbind", 237, 274, 235, EPERM, (), "memory of a node that others count on"),
            ("get_mempolicy", 239, 275, 236, EPERM, (), "where in the machine its pages lie"),
            ("set_mempolicy_home_node", 450, 450, 450, EPERM, (), "memory of a node that others count on"),
            ("migrate_pages", 256, 294, 238, EPERM, (), "moving another's memory"),
            ("move_pages", 279, 317, 239, EPERM, (), "moving another's memory, and learning where it is"),
            ("lsm_get_self_attr", 459, 459, 459, EPERM, (), "the state of security modules"),
            ("lsm_set_self_attr", 460, 460, 460, EPERM, (), "another security label"),
            ("lsm_list_modules", 461, 461, 461, EPERM, (), "the names of security modules"),
            # Kept by kernels for programs of long ago: never needed, seldom looked after.
            ("_sysctl", 156, 149, NONE, EPERM, (), "kernel settings past the read-only /proc/sys"),
            ("sysfs", 139, 135, NONE, EPERM, (), "names of file systems"),
            ("ustat", 136, 62, NONE, EPERM, (), "file systems that are not mounted here"),
            ("uselib", 134, 86, NONE, EPERM, (), "a loader of libraries inside the kernel"),
            ("nfsservctl", 180, 169, 42, EPERM, (), "the kernel's file server"),
            ("lookup_dcookie", 212, 253, 18, EPERM, (), "paths of files by number"),
        ),
    ),
)
