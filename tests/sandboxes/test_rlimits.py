"""Limits of single processes, as root and as an ordinary user, in user namespaces made as sandboxes' are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.sandboxes.zygote import rlimits

PACKAGE = str(Path(rlimits.__file__).parent.parent)
BASE = 0x70000000
MIB = 1 << 20

INSIDE = """
import json, os, resource, signal, sys
sys.path.insert(0, sys.argv[1])
from zygote import rlimits

def inside(limits, act, controllers=(), number=0, enter=None):
    out, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            rlimits.apply(limits, frozenset(controllers), number)
            if enter:
                enter()
            os.write(tell, json.dumps(act()).encode())
        finally:
            os._exit(0)
    os.close(tell)
    told = b""
    while part := os.read(out, 1000):
        told += part
    os.close(out)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return json.loads(told) if told else status

"""

TABLE = """
names = ("CORE", "NOFILE", "MEMLOCK", "MSGQUEUE", "RTPRIO", "NICE", "FSIZE", "DATA", "NPROC", "AS")
def table():
    return {name: resource.getrlimit(getattr(resource, "RLIMIT_" + name)) for name in names}
limits = json.loads(sys.argv[2])
print(json.dumps([inside(limits, table, sys.argv[3:]), table()]))
"""

BIG = """
import mmap
def write():
    with open(sys.argv[2], "wb", buffering=0) as file:
        for _ in range(4):
            file.write(bytes(1 << 20))
    return 0
def hog():
    try:
        return len(mmap.mmap(-1, rlimits._LEAST_DATA, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    except OSError:
        return "no memory"
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
print(json.dumps([inside({}, write), inside({"file_bytes": 2 << 20}, write)]))
print(json.dumps([inside({}, hog), inside({"memory": 1 << 20}, hog), inside({"memory": 1 << 20}, hog, ["memory"])]))
"""

FORKS = """
from zygote import syscalls

BASE, COUNT = int(sys.argv[2]), int(sys.argv[3])
TRIES = 60

def namespace():
    \"\"\"A user namespace as a sandbox has it, held by a process that waits.\"\"\"
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        os.write(tell, b"1")
        signal.pause()
        os._exit(0)
    os.read(told, 1)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    if COUNT == 1:
        open(f"/proc/{pid}/setgroups", "w").write("deny")
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{pid}/{name}", "w") as file:
            file.write(f"0 {BASE} {COUNT}")
    return pid

def enter(pid, uid=0):
    def act():
        fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
        syscalls.setns(fd, syscalls.CLONE_NEWUSER)
        os.setresgid(0, 0, 0)
        os.setresuid(uid, uid, uid)
    return act

def forks(then=lambda: None):
    wait, hold = os.pipe()
    had = 0
    for _ in range(TRIES):
        try:
            if os.fork() == 0:
                os.close(hold)
                os.read(wait, 1)
                os._exit(0)
        except BlockingIOError:
            break
        had += 1
    second = then()
    os.close(hold)
    for _ in range(had):
        os.wait()
    return had, second

holders = [namespace(), namespace()]
out, tell = os.pipe()
go, start = os.pipe()
# A child outside waits until the first sandbox is full, and then fills the second.
other = os.fork()
if other == 0:
    os.close(start)
    os.read(go, 1)
    os.write(tell, json.dumps(inside({"processes": 20}, forks, enter=enter(holders[1]))).encode())
    os._exit(0)

def fill_the_other():
    os.write(start, b"1")
    return json.loads(os.read(out, 1000))

free, _ = inside({}, forks, enter=enter(holders[0]))
first, (second, _) = inside({"processes": 20}, lambda: forks(fill_the_other), enter=enter(holders[0]))
grouped, _ = inside({"processes": 20}, forks, ["pids"], enter=enter(holders[0]))
for pid in (*holders, other):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
print(json.dumps([free, first, second, grouped]))
"""

WHERE = """
def where():
    return sorted(os.sched_getaffinity(0))
asked = [({"cpus": 0.5}, (), 0), ({"cpus": 0.5}, (), 1), ({"cpus": 0.5}, ("cpu",), 0), ({}, (), 0)]
print(json.dumps([where(), *(inside(limits, where, held, number) for limits, held, number in asked)]))
"""

RAISE = """
def more():
    refused = []
    for name in ("NPROC", "DATA", "NOFILE", "CORE"):
        which = getattr(resource, "RLIMIT_" + name)
        soft, hard = resource.getrlimit(which)
        try:
            resource.setrlimit(which, (soft, hard + 1))
        except ValueError:
            refused.append(name)
    return refused
def become():
    if os.geteuid() == 0:
        os.setresuid(BASE, BASE, BASE)
BASE = int(sys.argv[2])
print(json.dumps(inside({"processes": 20, "memory": 1 << 20, "files": 100}, more, enter=become)))
"""


def as_root_or_whoever(script: str, *args: str | Path) -> list[Any]:
    argv = [sys.executable, "-IS", "-c", INSIDE + script, PACKAGE, *map(str, args)]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def as_ordinary(user: Any, script: str, *args: str | Path) -> list[Any]:
    package = user.env["PYTHONPATH"].split(":")[0] + "/bakeoff/sandboxes"
    ran = user.run([user.python, "-IS", "-c", INSIDE + script, package, *args])
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_what_always_holds_needs_no_limit_to_be_declared() -> None:
    ((inside, outside),) = as_root_or_whoever(TABLE, "{}")
    assert inside["CORE"] == [0, 0]
    assert inside["RTPRIO"] == inside["NICE"] == [0, 0]
    assert inside["NOFILE"][0] == min(1024, inside["NOFILE"][1])
    assert inside["MEMLOCK"][1] <= 8 * MIB or os.geteuid() != 0
    for name in ("FSIZE", "DATA", "NPROC", "AS"):
        assert inside[name] == outside[name]


def test_declared_limits_are_set_where_no_group_limits() -> None:
    limits = {"memory": 1 << 50, "processes": 30, "files": 200, "file_bytes": 5 * MIB}
    ((inside, _),) = as_root_or_whoever(TABLE, json.dumps(limits))
    assert inside["DATA"] == [1 << 50] * 2
    assert inside["NPROC"] == [30, 30]
    assert inside["NOFILE"] == [200, 200]
    assert inside["FSIZE"] == [5 * MIB] * 2


def test_where_a_group_limits_nothing_is_approximated() -> None:
    limits = json.dumps({"memory": 1 << 50, "processes": 30})
    ((inside, outside),) = as_root_or_whoever(TABLE, limits, "memory", "pids", "cpu")
    assert inside["DATA"] == outside["DATA"]
    assert inside["NPROC"] == outside["NPROC"]


def test_an_ordinary_user_keeps_what_they_may_not_raise(ordinary_user: Any) -> None:
    ((inside, outside),) = as_ordinary(ordinary_user, TABLE, json.dumps({"files": 1 << 30}))
    assert inside["NOFILE"] == [min(1024, outside["NOFILE"][1]), outside["NOFILE"][1]]
    assert inside["CORE"] == [0, 0]


def test_a_file_that_grows_and_a_memory_hog_are_stopped(tmp_path: Path) -> None:
    (free_file, ended), (free, refused, grouped) = as_root_or_whoever(BIG, tmp_path / "file")
    assert free_file == 0, "without the limit it grows"
    assert ended == -25, "SIGXFSZ"
    assert isinstance(free, int), "without the limit it gets its memory"
    assert refused == "no memory"
    assert grouped == free


def test_processes_are_counted_for_each_sandbox_alone(require: Callable[[str, bool, str], None]) -> None:
    require("user-namespaces", _may_map(), "root, or permission to make user namespaces")
    base, count = (BASE, 65536) if os.geteuid() == 0 else (os.geteuid(), 1)
    ((free, first, second, grouped),) = as_root_or_whoever(FORKS, str(base), str(count))
    assert free == grouped == 60, "without the limit all can be had"
    # The process that forks counts itself; where one id is all there is, so does the one that holds the namespace.
    assert first == second == (19 if count > 1 else 18)


def test_processes_of_an_ordinary_user_are_counted_for_each_sandbox_alone(ordinary_user: Any) -> None:
    uid = int(ordinary_user.run(["id", "-u"]).stdout)
    ((free, first, second, grouped),) = as_ordinary(ordinary_user, FORKS, str(uid), "1")
    assert free == grouped == 60
    assert first == second == 18


def test_half_a_processor_is_one_and_the_next_sandbox_has_another() -> None:
    ((everywhere, first, second, grouped, free),) = as_root_or_whoever(WHERE)
    assert len(first) == len(second) == 1
    assert first != second or len(everywhere) == 1
    assert grouped == free == everywhere


def test_code_inside_cannot_raise_its_limits() -> None:
    (refused,) = as_root_or_whoever(RAISE, str(BASE))
    assert refused == ["NPROC", "DATA", "NOFILE", "CORE"]


def _may_map() -> bool:
    return (
        os.geteuid() == 0 or subprocess.run(["unshare", "-U", "true"], capture_output=True, check=False).returncode == 0
    )


cpus = st.floats(0.01, 20)


@given(st.sets(st.integers(0, 300), min_size=1, max_size=16), cpus, st.integers(0, 1000))
def test_sandboxes_get_as_many_processors_as_they_may_have(available: set[int], share: float, number: int) -> None:
    got = rlimits.processors(available, share, number)
    assert got <= available
    assert share <= len(got) < share + 1 or got == available


@given(st.integers(2, 16), st.integers(0, 1000))
def test_two_sandboxes_in_a_row_share_no_processor(machine: int, number: int) -> None:
    first, second = (rlimits.processors(set(range(machine)), 1, number + step) for step in (0, 1))
    assert first.isdisjoint(second)


@pytest.mark.parametrize(
    ("release", "apart"),
    [
        ("6.18.44-fc", True),
        ("5.14.0-70.el9", True),
        ("5.13.19", False),
        ("4.19.0-21", False),
        ("5.15", True),
        ("odd", False),
    ],
)
def test_old_kernels_count_processes_of_all_sandboxes_together(release: str, apart: bool) -> None:
    assert rlimits.counts_apart(release) is apart


@given(st.text())
def test_any_release_is_read(release: str) -> None:
    rlimits.counts_apart(release)
