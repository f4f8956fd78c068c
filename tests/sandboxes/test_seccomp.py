"""The seccomp filter, call by call: what it refuses, to whom, and that the kernel would have answered otherwise."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from filtered import IDENTITIES, MARK, PROGRAM, Call, ask, marked

from bakeoff.sandboxes.zygote import seccomp
from bakeoff.sandboxes.zygote import seccomp_table as table

Require = Callable[[str, bool, str], None]

COLUMNS = table.MACHINES[os.uname().machine]
NATIVE = COLUMNS[0]
BAD = 1  # an address that nobody has
NOBODY = 0x7FFFFFFF  # a process id that nobody has
NEW_USER, FS = 0x10000000, 0x200

# Arguments with which the kernel itself says something else than the filter, and does nothing. One tuple for each row.
HARMLESS: dict[str, list[tuple[int | str, ...]]] = {
    "io_uring_setup": [(0, BAD)],
    "io_uring_enter": [(-1, 0, 0, 0)],
    "io_uring_register": [(-1, 0, 0, 0)],
    "add_key": [(BAD, BAD, 0, 0)],
    "request_key": [(BAD, BAD, 0, 0)],
    "keyctl": [(0, -3, 0)],
    "personality": [(0x40000,)],
    "process_vm_readv": [(NOBODY, 0, 0, 0, 0, 1)],
    "process_vm_writev": [(NOBODY, 0, 0, 0, 0, 1)],
    "process_madvise": [(-1, 0, 0, 0, 1)],
    "kcmp": [(NOBODY, NOBODY, 0, 0, 0)],
    "pidfd_getfd": [(-1, 0, 1)],
    "unshare": [(NEW_USER | 1,)],
    "clone": [(NEW_USER | FS, 0, 0, 0, 0)],
    "clone3": [("zeros", 0)],
    "setns": [(-1, 0)],
    "listns": [("zeros", 0, 0, 0)],
    "mount": [("path", "path", 0, 0, 0)],
    "umount": [("path",)],
    "umount2": [("path", 0x4000)],
    "pivot_root": [("path", "path")],
    "open_tree": [(-1, "path", 0x40000000)],
    "open_tree_attr": [(-1, "path", 0x40000000, 0, 0)],
    "move_mount": [(-1, "path", -1, "path", 0x40000000)],
    "fsopen": [(BAD, 0x40000000)],
    "fsconfig": [(-1, 99, 0, 0, 0)],
    "fsmount": [(-1, 0x40000000, 0)],
    "fspick": [(-1, "path", 0x40000000)],
    "mount_setattr": [(-1, "path", 0x40000000, "zeros", 32)],
    "socket": [(17, 2, 0), (2, 10, 0), (16, 3, 15)],
    "socketpair": [(17, 2, 0, "zeros"), (2, 10, 0, "zeros"), (16, 3, 15, "zeros")],
    "socketcall": [(1, "zeros")],
    "ioctl": [(-1, 0x5412, BAD)],
    "bpf": [(-1, 0, 0)],
    "perf_event_open": [(BAD, 0, 0, -1, 0)],
    "userfaultfd": [(0x80001,)],
    "fanotify_init": [(0x200, 0)],
    "name_to_handle_at": [(-1, "path", "zeros", "zeros", 0)],
    "open_by_handle_at": [(-1, "zeros", 0)],
    "kexec_load": [(0, 0, 0, 0xFFFF)],
    "kexec_file_load": [(-1, -1, 0, 0, 0xFFFF)],
    "init_module": [(0, 0, 0)],
    "finit_module": [(-1, 0, 0xFFFF)],
    "delete_module": [("path", 0)],
    "reboot": [(0, 0, 0, 0)],
    "swapon": [("path", 0)],
    "swapoff": [("path",)],
    "acct": [("path",)],
    "syslog": [(10, 0, 0)],
    "quotactl": [(0x7FFFFFFF, 0, 0, 0)],
    "quotactl_fd": [(-1, 0x7FFFFFFF, 0, 0)],
    "sethostname": [(BAD, -1)],
    "setdomainname": [(BAD, -1)],
    "settimeofday": [(BAD, 0)],
    "stime": [(BAD,)],
    "clock_settime": [(999, BAD)],
    "clock_settime64": [(999, BAD)],
    "adjtimex": [(BAD,)],
    "clock_adjtime": [(999, BAD)],
    "clock_adjtime64": [(999, BAD)],
    "iopl": [(4,)],
    "ioperm": [(NOBODY, 1, 1)],
    "vm86old": [(BAD,)],
    "vm86": [(99, BAD)],
    "vhangup": [()],
    "set_mempolicy": [(99, 0, 0)],
    "mbind": [(0, 0, 99, 0, 0, 99)],
    "get_mempolicy": [(0, 0, 0, 0, 99)],
    "set_mempolicy_home_node": [(0, 0, 0, 99)],
    "migrate_pages": [(NOBODY, 0, 0, 0)],
    "move_pages": [(NOBODY, 0, 0, 0, 0, 99)],
    "lsm_get_self_attr": [(0, 0, 0, 99)],
    "lsm_set_self_attr": [(0, 0, 0, 99)],
    "lsm_list_modules": [(0, 0, 99)],
    "_sysctl": [(BAD,)],
    "sysfs": [(3,)],
    "ustat": [(0, BAD)],
    "uselib": [("path",)],
    "nfsservctl": [(99, 0, 0)],
    "lookup_dcookie": [(0, 0, 0)],
}

Asked = tuple[str, int, Call]  # the name, the error expected, the call


def _asked(column: str) -> dict[str, tuple[str, list[Asked]]]:
    """By a row's own name for tests: the group, and what is asked."""
    place = 1 + list(table.ARCHITECTURES).index(column)
    found: dict[str, tuple[str, list[Asked]]] = {}
    for group, _, rows in table.TABLE:
        for row in rows:
            same = found.setdefault(row[0], (group, []))[1]
            number = row[place]
            assert isinstance(number, int)
            if number != table.NONE:
                same.append((row[0], row[4], (column, number, HARMLESS[row[0]][len(same)])))
    return {name: asked for name, asked in found.items() if asked[1]}


ASKED = {column: _asked(column) for column in COLUMNS}
CALLS = tuple(call for column in COLUMNS for _, rows in ASKED[column].values() for _, _, call in rows)
EVERY = [(column, name) for column in COLUMNS for name in ASKED[column]]

# For whom the kernel's own answer may be the filter's, so that the mark alone tells them apart. For root it never is.
NEEDS_ROOT = {"reboot", "swapon", "swapoff", "acct", "vhangup", "syslog"}
NEEDS_NAMESPACE = {"pivot_root", "move_mount", "fsopen", "fsmount", "fspick", "sethostname", "setdomainname"}
MAY_BE_SAME = {"root": set[str](), "ordinary": NEEDS_ROOT | NEEDS_NAMESPACE, "owner": NEEDS_ROOT}


def answers(require: Require, program: bytes, column: str, who: str) -> dict[Call, int | str]:
    """What is answered to all calls. Nothing for an owner where user namespaces are not permitted: the others have to do."""
    given = ask(program, CALLS, who)
    if isinstance(given, str):
        assert who == "owner", given
        return {}
    found = {call: answer for call, answer in zip(CALLS, given, strict=True) if call[0] == column}
    require(column, "not served" not in found.values(), "the kernel does not serve its programs")
    return found


@pytest.mark.parametrize(("column", "name"), EVERY)
def test_a_call_of_the_table_is_answered_by_the_filter(require: Require, column: str, name: str) -> None:
    for who in IDENTITIES:
        filtered, stamped = (answers(require, program, column, who) for program in (PROGRAM, marked(PROGRAM)))
        for _, error, call in ASKED[column][name][1]:
            if filtered:
                assert (filtered[call], stamped[call]) == (-error, -error - MARK), (who, call)


@pytest.mark.parametrize(("column", "name"), EVERY)
def test_without_the_filter_the_kernel_says_something_else(require: Require, column: str, name: str) -> None:
    for who in IDENTITIES:
        bare = answers(require, b"", column, who)
        for _, error, call in ASKED[column][name][1]:
            if bare and name not in MAY_BE_SAME[who]:
                assert bare[call] != -error, (who, call)


@pytest.mark.parametrize("group", seccomp.GROUPS)
@pytest.mark.parametrize("column", COLUMNS)
def test_lifting_a_protection_opens_its_calls_and_no_other(require: Require, column: str, group: str) -> None:
    given = answers(require, marked(seccomp.program((group,))), column, IDENTITIES[0])
    for name, (of, rows) in ASKED[column].items():
        for _, error, call in rows:
            assert (given[call] == -error - MARK) == (of != group), (name, given[call])


@pytest.mark.parametrize("column", COLUMNS)
def test_with_all_protections_lifted_every_call_reaches_the_kernel(require: Require, column: str) -> None:
    given = answers(require, marked(seccomp.program(tuple(seccomp.GROUPS))), column, IDENTITIES[0])
    assert all(isinstance(answer, int) and answer > -MARK for answer in given.values())


HIGH = 1 << 32


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ioctl", (-1, HIGH | 0x5412, BAD)),
        ("ioctl", (-1, 0x541C, "zeros")),
        ("socket", (HIGH | 17, 2, 0)),
        ("socket", (2, HIGH | 10, 0)),
        ("socket", (2, 0x80000 | 10, 0)),  # SOCK_CLOEXEC beside the type
        ("socket", (40, 1, 0)),
        ("socket", (38, 5, 0)),
        ("socket", (16, 3, HIGH | 15)),
        ("unshare", (HIGH | NEW_USER | 1,)),
        ("unshare", (0x80 | 1,)),
        ("clone", (HIGH | NEW_USER | FS, 0, 0, 0, 0)),
        ("personality", (HIGH | 0x40000,)),
    ],
)
def test_no_spelling_of_an_argument_gets_past_the_filter(name: str, arguments: tuple[int | str, ...]) -> None:
    number = ASKED[NATIVE][name][1][0][2][1]
    given = ask(marked(PROGRAM), ((NATIVE, number, arguments),))
    assert isinstance(given[0], int)
    assert given[0] <= -MARK


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("personality", (0xFFFFFFFF,)),
        ("personality", (0x20008,)),
        ("unshare", (FS,)),
        ("socket", (1, 1, 0)),
        ("socket", (2, 0x80001, 0)),
        ("socket", (10, 2, 0)),
        ("socket", (16, 3, 0)),
        ("socket", (16, 3, 4)),
        ("socketpair", (1, 1, 0, "zeros")),
    ],
)
def test_what_ordinary_programs_ask_is_answered_by_the_kernel(name: str, arguments: tuple[int | str, ...]) -> None:
    number = ASKED[NATIVE][name][1][0][2][1]
    calls = ((NATIVE, number, arguments),)
    given = ask(marked(PROGRAM), calls)
    assert given == ask(b"", calls)
    assert isinstance(given[0], int)
    assert given[0] >= 0


X32 = pytest.mark.skipif(NATIVE != "x86_64", reason="x32 is an interface of x86_64")


@X32
@pytest.mark.parametrize("number", [0x40000000 | 39, 0x40000000 | 248, 0x40000000 | 520, 520])
def test_the_x32_interface_is_closed_whatever_is_lifted(number: int) -> None:
    for program in (PROGRAM, seccomp.program(tuple(seccomp.GROUPS))):
        assert ask(marked(program), ((NATIVE, number, ()),)) == (-38 - MARK,)


@pytest.mark.parametrize("column", COLUMNS)
def test_calls_newer_than_the_table_do_not_exist_unless_the_kernel_is_lifted(require: Require, column: str) -> None:
    calls = ((column, table.LAST + 1, ()), (column, 600, ()))
    given = ask(marked(PROGRAM), calls)
    require(column, "not served" not in given, "the kernel does not serve its programs")
    assert given == (-38 - MARK, -38 - MARK)
    assert ask(marked(seccomp.program(("kernel",))), calls) == (-38, -38)
