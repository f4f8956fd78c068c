"""The seccomp filter as a program: it says of every call what the table says, and the table is right and complete."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from filtered import said, verdict
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.sandboxes.zygote import seccomp
from bakeoff.sandboxes.zygote import seccomp_table as table

Require = Callable[[str, bool, str], None]

ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
ODD_NUMBERS = [
    *range(600),
    0x3FFFFFFF,
    0x40000000,
    0x40000000 | 39,
    0x40000000 | 520,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFE,
    0xFFFFFFFF,
]
LIFTED = [(), *((group,) for group in seccomp.GROUPS), tuple(seccomp.GROUPS)]
MACHINE = {column: machine for machine, columns in table.MACHINES.items() for column in columns}
PROGRAMS = {(machine, without): seccomp.program(without, machine) for machine in table.MACHINES for without in LIFTED}

# The values that the terms of the table mention, their neighbours, and such with bits that no term may look at.
MENTIONED = sorted(
    {value for _, _, rows in table.TABLE for row in rows for term in row[5] for value in (*term[3], term[1])}
)
WORDS = st.one_of(
    st.sampled_from(MENTIONED),
    st.sampled_from(MENTIONED).map(lambda value: value ^ 1),
    st.sampled_from(MENTIONED).map(lambda value: value | 1 << 32),
    st.integers(0, 31).map(lambda bit: 1 << bit),
    st.integers(0, (1 << 64) - 1),
)
CONDITIONAL = [row for _, _, rows in table.TABLE for row in rows if row[5]]


def as_said(column: str, number: int, arguments: tuple[int, ...], without: tuple[str, ...]) -> bool:
    answer = verdict(PROGRAMS[MACHINE[column], without], table.ARCHITECTURES[column], number, arguments)
    error = said(column, number, arguments, without)
    return answer == (ERRNO | error if error else ALLOW)


@pytest.mark.parametrize("without", LIFTED, ids=lambda groups: "+".join(groups) or "nothing")
@pytest.mark.parametrize("column", MACHINE)
def test_every_number_gets_the_verdict_of_the_table(column: str, without: tuple[str, ...]) -> None:
    wrong = [
        (number, arguments)
        for number in ODD_NUMBERS
        for arguments in ((0,) * 6, ((1 << 64) - 1,) * 6)
        if not as_said(column, number, arguments, without)
    ]
    assert wrong == []


@given(st.sampled_from(list(MACHINE)), st.sampled_from(CONDITIONAL), st.tuples(*[WORDS] * 6), st.sampled_from(LIFTED))
def test_arguments_get_the_verdict_of_the_table(
    column: str, row: table.Row, arguments: tuple[int, ...], without: tuple[str, ...]
) -> None:
    number = row[1 + list(table.ARCHITECTURES).index(column)]
    assert isinstance(number, int)
    assert number == table.NONE or as_said(column, number, arguments, without)


@pytest.mark.parametrize("machine", table.MACHINES)
@pytest.mark.parametrize("architecture", [0x40000028, 0x40000003, 0xC000003E, 0xC00000B7, 0xC00000F3, 0, 0xFFFFFFFF])
def test_a_program_of_another_architecture_is_ended(machine: str, architecture: int) -> None:
    known = {table.ARCHITECTURES[column] for column in table.MACHINES[machine]}
    for without in ((), tuple(seccomp.GROUPS)):
        answer = verdict(PROGRAMS[machine, without], architecture, 39 if machine == "x86_64" else 172)
        if architecture not in known:
            assert answer == KILL
        elif architecture != table.ARCHITECTURES["i386"]:
            assert answer == ALLOW


@pytest.mark.parametrize("machine", table.MACHINES)
def test_every_jump_lands_and_every_path_returns(machine: str) -> None:
    lines = list(struct.iter_unpack("=HBBI", PROGRAMS[machine, ()]))
    for index, (code, met, missed, value) in enumerate(lines):
        ahead = [value] if code == 0x05 else [met, missed]
        assert all(index + 1 + step < len(lines) for step in ahead) or code == 0x06
    assert lines[-1][0] == 0x06


def test_the_program_stays_short() -> None:
    # What it costs to install grows with its lines, once for each command.
    assert len(seccomp.program((), "x86_64")) // 8 <= 260
    assert len(seccomp.program((), "aarch64")) // 8 <= 130


def test_a_protection_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no such protection: gravity"):
        seccomp.program(("kernel", "gravity"))


def test_a_machine_without_a_table_is_told() -> None:
    with pytest.raises(KeyError, match="riscv64"):
        seccomp.program((), "riscv64")


def test_this_machine_is_the_default() -> None:
    assert seccomp.program() == seccomp.program(frozenset(), os.uname().machine)


def test_each_call_stands_in_one_group_under_one_number_and_is_explained() -> None:
    group_of: dict[str, str] = {}
    for column in range(3):
        names: dict[int, str] = {}
        for group, phrase, rows in table.TABLE:
            assert phrase
            for row in rows:
                assert group_of.setdefault(row[0], group) == group
                number = row[1 + column]
                assert isinstance(number, int)
                assert number <= table.LAST
                assert number == table.NONE or names.setdefault(number, row[0]) == row[0]
                assert row[6]


def test_lifting_is_by_names_that_a_task_can_know() -> None:
    assert list(seccomp.GROUPS) == [
        *("io-uring", "keyring", "personality", "process-memory", "user-namespaces", "sockets", "terminal", "kernel")
    ]


# Where Debian's linux-libc-dev has the numbers. Newer calls have one number on all architectures.
HEADERS = {
    "x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
    "i386": "/usr/include/x86_64-linux-gnu/asm/unistd_32.h",
    "aarch64": "/usr/include/asm-generic/unistd.h",
}
NEWER = {
    "lsm_get_self_attr",
    "lsm_set_self_attr",
    "lsm_list_modules",
    "open_tree_attr",
    "listns",
    "set_mempolicy_home_node",
}


@pytest.mark.parametrize(
    "column", [*table.MACHINES["x86_64"], "aarch64"] if os.uname().machine == "x86_64" else ["aarch64"]
)
def test_the_numbers_are_those_of_the_kernels_headers(require: Require, column: str) -> None:
    header = Path(HEADERS[column])
    require("kernel-headers", header.exists(), f"no {header}")
    defined = re.findall(r"#define\s+__NR(?:3264)?_(\w+)\s+(\d+)\s*$", header.read_text(), re.MULTILINE)
    numbers = {name: int(number) for name, number in defined}
    if column == "aarch64":  # the generic header has calls of 32-bit architectures too
        numbers = {name: number for name, number in numbers.items() if not 403 <= number <= 423}
    place = 1 + list(table.ARCHITECTURES).index(column)
    for _, _, rows in table.TABLE:
        for row in rows:
            if row[0] in NEWER and row[0] not in numbers:
                assert row[1] == row[2] == row[3]
            else:
                assert row[place] == numbers.get(row[0], table.NONE), row[0]


# The calls that docker's default profile, with its default capabilities, refuses at all arguments; what it refuses beyond these
# and is open here, stands with its reasons at the head of the table.
REFUSED_BY_DOCKER = """
    syslog uselib ustat sysfs vhangup pivot_root _sysctl acct settimeofday mount umount umount2 swapon swapoff reboot sethostname
    setdomainname iopl ioperm init_module finit_module delete_module quotactl quotactl_fd nfsservctl lookup_dcookie
    clock_settime clock_settime64 stime mbind set_mempolicy get_mempolicy set_mempolicy_home_node kexec_load kexec_file_load
    add_key request_key keyctl migrate_pages move_pages perf_event_open fanotify_init open_by_handle_at setns kcmp bpf
    userfaultfd io_uring_setup io_uring_enter io_uring_register open_tree open_tree_attr move_mount fsopen fsconfig fsmount
    fspick clone3 pidfd_getfd process_madvise mount_setattr lsm_get_self_attr lsm_set_self_attr lsm_list_modules listns
    vm86 vm86old
"""


@pytest.mark.parametrize("name", REFUSED_BY_DOCKER.split())
def test_what_docker_refuses_by_default_is_refused(name: str) -> None:
    rows = [row for _, _, members in table.TABLE for row in members if row[0] == name]
    assert [row[5] for row in rows] == [()]


def test_a_descriptor_gives_the_program_from_its_start_and_is_not_inherited() -> None:
    program = seccomp.program()
    fd = seccomp.descriptor(program)
    try:
        assert not os.get_inheritable(fd)
        assert os.read(fd, len(program) + 1) == program
    finally:
        os.close(fd)
