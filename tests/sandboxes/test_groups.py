"""Control groups: real groups hold real processes, the dead's are swept, and what is read about the machine is understood."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bakeoff.sandboxes.zygote import folders, permitted, places
from bakeoff.sandboxes.zygote.groups import Group, Hierarchy

Require = Callable[[str, bool, str], None]
MIB = 1 << 20
PACKAGE = str(Path(permitted.__file__).parent.parent)
TRIES = 60
NOT_ROOT = "whoever is not root has no control groups here, and the tests of root make them"
SPIN = 0.15  # seconds of processor time, of which a fifth of a processor takes eight periods


def left(token: str) -> list[str]:
    """Folders of this harness in any mounted hierarchy."""
    tops = {mount.point for mount in places.mounts(places.read("/proc/self/mountinfo"))}
    name = f"{folders.PREFIX}{token}"
    return [f"{path}/{name}" for top in tops for path, below, _ in os.walk(top) if name in below]


@pytest.fixture
def token() -> Iterator[str]:
    name = secrets.token_hex(6)
    yield name
    assert left(name) == []


@pytest.fixture
def hierarchy(token: str, require: Require) -> Iterator[Hierarchy]:
    if os.geteuid() != 0:
        pytest.skip(NOT_ROOT)
    found = permitted.find(token)
    try:
        require("cgroups", found.controllers == {"memory", "pids", "cpu"}, found.reason)
        yield found
    finally:
        found.close()


def inside(group: Group | None, act: Callable[[], int]) -> int:
    """How a forked child ended that joined the group and did this: its exit code, or minus the signal."""
    pid = group.fork() if group else os.fork()
    if pid == 0:
        code = 99
        try:
            if group:
                group.join()
            code = act()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def touch_64_mib() -> int:
    block = bytearray(64 * MIB)
    for offset in range(0, len(block), 4096):
        block[offset] = 1
    return 0


def fork_often(tries: int = TRIES) -> int:
    """How many children could be had at once, at most as many as are tried; they end with this process."""
    wait, hold = os.pipe()
    had = 0
    for _ in range(tries):
        try:
            if os.fork() == 0:
                os.close(hold)
                os.read(wait, 1)
                os._exit(0)
        except BlockingIOError:
            break
        had += 1
    os.close(hold)
    for _ in range(had):
        os.wait()
    return had


def spin() -> int:
    while time.process_time() < SPIN:
        pass
    return 0


def test_who_takes_more_memory_than_the_limit_is_killed_and_the_limit_named(hierarchy: Hierarchy) -> None:
    assert inside(None, touch_64_mib) == 0, "without the group it goes through"
    group = hierarchy.make("1", memory=32 * MIB)
    assert group.limited == {"memory"}
    assert group.exceeded() == []
    assert inside(group, touch_64_mib) == -signal.SIGKILL
    assert group.exceeded() == ["memory"]
    assert group.used()["memory_peak_bytes"] == pytest.approx(32 * MIB, abs=2 * MIB)
    assert group.remove()


def test_what_stays_below_the_limit_is_not_named(hierarchy: Hierarchy) -> None:
    group = hierarchy.make("1", memory=128 * MIB, processes=30)
    assert inside(group, touch_64_mib) == 0
    assert inside(group, lambda: fork_often(20)) == 20
    assert group.exceeded() == []
    peak = group.used()["memory_peak_bytes"]
    assert peak is not None
    assert 64 * MIB < peak < 128 * MIB
    group.remove()


def test_a_fork_bomb_ends_at_the_limit_and_the_limit_is_named(hierarchy: Hierarchy) -> None:
    assert inside(None, fork_often) == TRIES, "without the group it goes on"
    group = hierarchy.make("1", processes=20)
    assert inside(group, fork_often) == 19
    assert group.exceeded() == ["processes"]
    group.remove()


def test_one_sandbox_full_of_processes_leaves_another_and_those_who_judge_alone(hierarchy: Hierarchy) -> None:
    full, apart = hierarchy.make("1", processes=5), hierarchy.make("1.apart", processes=20)
    assert inside(full, lambda: min(fork_often(), inside(apart, fork_often))) == 4
    assert full.exceeded() == ["processes"]
    full.remove()
    apart.remove()


def test_a_part_of_a_processor_is_throttled_and_the_time_counted(hierarchy: Hierarchy) -> None:
    group = hierarchy.make("1", cpus=0.2)
    assert inside(group, spin) == 0
    place = next(place for place in hierarchy.places if "cpu" in place.controllers)
    stat = places.read("1/cpu.stat", place.fd).split()
    assert int(stat[stat.index("nr_throttled") + 1]) > 0
    used = group.used()["cpu_seconds"]
    assert used is not None
    assert SPIN * 0.8 < used < SPIN * 3
    group.remove()


def test_a_group_that_is_not_empty_is_removed_with_the_next_one(hierarchy: Hierarchy) -> None:
    group = hierarchy.make("1", processes=20)
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            group.join()
            os.write(tell, b"1")
            signal.pause()
        finally:
            os._exit(1)
    os.close(tell)
    try:
        assert os.read(told, 1) == b"1"
        assert not group.remove()
        assert any(os.path.isdir(f"{folder}/1") for folder in hierarchy.folders)
    finally:
        os.close(told)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    hierarchy.make("2").remove()
    assert not any(os.path.isdir(f"{folder}/1") for folder in hierarchy.folders)


def test_a_group_that_cannot_be_made_leaves_nothing(hierarchy: Hierarchy) -> None:
    hierarchy.make("1")
    with pytest.raises(FileExistsError):
        hierarchy.make("1")
    with pytest.raises(OSError, match="Invalid argument"):
        hierarchy.make("2", processes=1 << 40)
    assert not any(os.path.exists(f"{folder}/2") for folder in hierarchy.folders)
    assert any(os.path.exists(f"{folder}/1") for folder in hierarchy.folders), "the one that was there stays"


def test_more_processors_than_the_group_around_has_are_no_error(hierarchy: Hierarchy) -> None:
    outer = hierarchy.make("1", cpus=0.5)
    place = next(place for place in outer.places if "cpu" in place.controllers)
    within = type(place)(os.open("1", os.O_RDONLY, dir_fd=place.fd), f"{place.path}/1", place.controllers)
    inner = Hierarchy(hierarchy.version, [within], "")
    inner.make("x", cpus=4).remove()
    os.close(within.fd)
    outer.remove()


def test_a_machine_without_groups_limits_nothing_and_breaks_nothing() -> None:
    none = Hierarchy(0, [], "for no reason")
    group = none.make("1", memory=MIB, processes=1, cpus=1)
    assert inside(group, lambda: 7) == 7
    assert (group.limited, group.exceeded()) == (frozenset(), [])
    assert group.used() == {"cpu_seconds": None, "memory_peak_bytes": None}
    assert group.remove()
    none.close()


# The dead and the living

HARNESS = """
import sys, signal
sys.path.insert(0, sys.argv[1])
from zygote import permitted
found = permitted.find(sys.argv[2])
found.make("1", memory=1 << 25, processes=5)
print(found.version, flush=True)
signal.pause()
"""


def harness(token: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-IS", "-c", HARNESS, PACKAGE, token]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_the_sweep_takes_what_the_dead_left_and_spares_the_living(hierarchy: Hierarchy) -> None:
    group = hierarchy.make("1", processes=5)
    other = secrets.token_hex(6)
    process = harness(other)
    try:
        folders.sweep()
        assert left(other), "it lives"
        made = left(other)[0]
        os.makedirs(f"{made}/1/within/deep")
    finally:
        end(process)
    assert left(other), "nobody has removed them yet"
    assert folders.sweep() >= 1
    assert left(other) == []
    assert all(os.path.isdir(place.path + "/1") for place in group.places), "ours are still there"
    assert inside(group, fork_often) == 4


def test_harnesses_killed_at_any_moment_leave_nothing_after_the_sweep(hierarchy: Hierarchy) -> None:
    killed = [secrets.token_hex(6) for _ in range(12)]
    for step, name in enumerate(killed):
        process = subprocess.Popen([sys.executable, "-IS", "-c", HARNESS, PACKAGE, name], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 5
        while step % 2 and not os.path.isdir(f"{hierarchy.folders[0].rpartition('/')[0]}/bakeoff-{name}"):
            assert time.monotonic() < deadline
        time.sleep(step * 0.0005)
        process.kill()
        process.wait()
    deadline = time.monotonic() + 10
    while any(left(name) for name in killed) and time.monotonic() < deadline:
        folders.sweep()  # the child with which a harness tries outlives it by a moment, and holds the lock
    assert [left(name) for name in killed] == [[]] * len(killed)


def test_what_only_looks_like_a_harness_is_left_alone(hierarchy: Hierarchy) -> None:
    strange = [
        f"{hierarchy.folders[0]}/{name}" for name in ("bakeoff-foo", "bakeoff-0123456789abc", "xbakeoff-0123456789ab")
    ]
    for path in strange:
        os.mkdir(path)
    folders.sweep()
    assert all(os.path.isdir(path) for path in strange)


def test_the_folders_of_a_harness_cannot_be_taken_by_a_second(hierarchy: Hierarchy, token: str) -> None:
    second = permitted.find(token)
    assert second.version == 0
    assert "another holds the lock" in second.reason or "cannot be" in second.reason
    assert inside(hierarchy.make("1", processes=3), fork_often) == 2


@pytest.mark.parametrize("name", ["", "x", "../../escape", "0123456789AB", "0123456789abc"])
def test_a_token_is_twelve_digits(name: str) -> None:
    with pytest.raises(ValueError):
        permitted.find(name)


# What a machine may lack

FIND = """
import sys, json
sys.path.insert(0, sys.argv[1])
from zygote import permitted, syscalls
for step in sys.argv[3:]:
    if step == "private":
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    elif step.startswith("ro:"):
        syscalls.bind(step[3:], step[3:])
        syscalls.mount("none", step[3:], "", 32 | syscalls.MS_BIND | syscalls.MS_RDONLY)
    elif step.startswith("cover:"):
        syscalls.mount("none", step[6:], "tmpfs")
        syscalls.bind("/dev/null", "/proc/self/mountinfo")
found = permitted.find(sys.argv[2])
print(json.dumps([found.version, sorted(found.controllers), found.reason]))
found.close()
"""


def found_with(token: str, *steps: str) -> tuple[int, list[str], str]:
    argv = [sys.executable, "-IS", "-c", FIND, PACKAGE, token, *steps]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    version, controllers, reason = json.loads(ran.stdout)
    return version, controllers, reason


def test_an_ordinary_user_without_a_delegated_group_is_told_why(ordinary_user: Any, token: str) -> None:
    package = ordinary_user.env["PYTHONPATH"].split(":")[0] + "/bakeoff/sandboxes"
    ran = ordinary_user.run([ordinary_user.python, "-IS", "-c", FIND, package, token])
    version, controllers, reason = json.loads(ran.stdout)
    if version:
        pytest.skip("this user has a delegated group, and what it can limit is another test's")
    assert controllers == []
    assert "cannot be limited" in reason
    assert "root" in reason


def test_a_read_only_controller_is_missing_and_the_rest_is_used(hierarchy: Hierarchy, require: Require) -> None:
    require("cgroup1", hierarchy.version == 1, "the controllers are not mounted apart")
    folder = next(place.path for place in hierarchy.places if "pids" in place.controllers).rpartition("/")[0]
    token = secrets.token_hex(6)
    version, controllers, reason = found_with(token, "private", f"ro:{folder}")
    mounted_at_group = folder in [mount.point for mount in places.mounts(places.read("/proc/self/mountinfo"))]
    require("cgroup1", mounted_at_group, "this process's group is not where the controller is mounted")
    assert (version, controllers) == (1, ["cpu", "memory"])
    assert "processes cannot be limited" in reason
    assert "Read-only file system" in reason
    assert left(token) == []


def test_without_any_mounted_hierarchy_the_reason_says_so(hierarchy: Hierarchy) -> None:
    version, _, reason = found_with(secrets.token_hex(6), "private", "cover:/sys")
    assert version == 0
    assert "no control groups are mounted" in reason


# Version 2, with the controllers that this machine has left for it

VERSION_2 = """
import json, os, secrets, sys
sys.path.insert(0, sys.argv[1])
from zygote import permitted, places, syscalls
found = permitted.find(sys.argv[2], (sys.argv[3],))
told = {"version": found.version, "controllers": sorted(found.controllers), "reason": found.reason}

def where(fork, join):
    out, tell = os.pipe()
    pid = fork()
    if pid == 0:
        if join:
            group.join()
        os.write(tell, places.own_groups(places.read("/proc/self/cgroup"))[""].encode())
        os._exit(0)
    os.close(tell)
    os.waitpid(pid, 0)
    return os.read(out, 1000).decode()

group = found.make("1")
told["born"] = where(group.fork, False)
told["joined"] = where(group.fork, True)
told["moved"] = where(os.fork, True)
told["outside"] = where(os.fork, False)
told["used"], told["exceeded"] = group.used(), group.exceeded()

out, tell = os.pipe()
pid = group.fork()
if pid == 0:
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWCGROUP)
        syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
        syscalls.mount("none", "/mnt", "cgroup2")
        contained = permitted.find(secrets.token_hex(6), (sys.argv[3],))
        os.write(tell, json.dumps([contained.version, contained.reason]).encode())
    except OSError as error:
        os.write(tell, json.dumps([-1, str(error)]).encode())
    finally:
        os._exit(0)
os.close(tell)
os.waitpid(pid, 0)
told["contained"] = json.loads(os.read(out, 10000))
children = []
for _ in range(3):
    pid = group.fork()
    if pid == 0:
        os.execv("/bin/sleep", ["sleep", "30"])
    children.append(pid)
with open(found.folders[0] + "/1/cgroup.kill", "w") as kill:
    kill.write("1")
told["killed"] = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]

told["removed"] = group.remove()
found.close()
print(json.dumps(told))
"""


DELEGATED = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from zygote import folders, permitted, places, syscalls
token, controller, top, own = sys.argv[2:6]
delegated = f"{top}/delegated-{token}"
told = {}

def as_user(name):
    \"\"\"What a user finds whose group is within the delegated one.\"\"\"
    out, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            folders.write(f"{delegated}/within/cgroup.procs", "0")
            os.setresgid(12345, 12345, 12345)
            os.setresuid(12345, 12345, 12345)
            syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
            found = permitted.find(token, (controller,))
            if own == "namespace":  # as the zygote does
                syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID)
                for file, value in (("setgroups", "deny"), ("uid_map", "0 12345 1"), ("gid_map", "0 12345 1")):
                    folders.write(f"/proc/self/{file}", value)
            answer = [found.version, found.folders, found.reason]
            if found.version:
                group = found.make("1")
                child = group.fork()
                if child == 0:
                    group.join()
                    os.write(tell, places.own_groups(places.read("/proc/self/cgroup"))[""].encode() + b"\\n")
                    os._exit(0)
                os.waitpid(child, 0)
                group.remove()
            found.close()
            os.write(tell, json.dumps(answer).encode())
        except OSError as error:
            os.write(tell, json.dumps([-1, str(error)]).encode())
        finally:
            os._exit(0)
    os.close(tell)
    os.waitpid(pid, 0)
    told[name] = os.read(out, 10000).decode().split("\\n")

folders.write(f"{top}/cgroup.subtree_control", f"+{controller}")
os.makedirs(f"{delegated}/within")
try:
    as_user("foreign")
    for path in (delegated, f"{delegated}/cgroup.procs", f"{delegated}/cgroup.subtree_control"):
        os.chown(path, 12345, 12345)
    as_user("own")
finally:
    os.rmdir(f"{delegated}/within")
    os.rmdir(delegated)
print(json.dumps(told))
"""


def told_by(script: str, *args: str) -> Any:
    argv = [sys.executable, "-IS", "-c", script, PACKAGE, *args]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_version_2_is_used_as_far_as_this_machine_has_it(token: str, require: Require) -> None:
    if os.geteuid() != 0:
        pytest.skip(NOT_ROOT)
    mounted = [mount for mount in places.mounts(places.read("/proc/self/mountinfo")) if mount.kind == "cgroup2"]
    top = mounted[0].point if mounted else ""
    spare = sorted(set(places.read(f"{top}/cgroup.controllers").split()) & {"hugetlb", "misc", "rdma"})
    writable = os.access(f"{top}/cgroup.procs", os.W_OK)
    require("cgroup2", bool(top and spare and writable), "version 2 with a controller to spare")
    before = places.read(f"{top}/cgroup.subtree_control").split()
    try:
        told = told_by(VERSION_2, token, spare[0])
        users = told_by(DELEGATED, token, spare[0], top, "")
        namespaced = told_by(DELEGATED, token, spare[0], top, "namespace")
    finally:
        folders.sweep(top)
        if spare[0] not in before:
            Path(f"{top}/cgroup.subtree_control").write_text(f"-{spare[0]}")
    assert (told["version"], told["controllers"], told["reason"]) == (2, spare[:1], "")
    assert told["born"] == told["joined"] == told["moved"]
    assert told["born"].endswith(f"/bakeoff-{token}/1")
    assert not told["outside"].endswith("/1")
    assert told["used"]["cpu_seconds"] > 0
    assert told["used"]["memory_peak_bytes"] is None
    assert told["exceeded"] == []
    assert told["killed"] == [-signal.SIGKILL] * 3
    assert told["contained"][0] == 0
    assert "holds processes itself" in told["contained"][1]
    assert told["removed"]
    for asked in (users, namespaced):
        version, _, reason = json.loads(asked["foreign"][0])
        assert version == 0
        assert "systemd-run --user --scope -p Delegate=yes" in reason
        group, answer = asked["own"]
        assert group == f"/delegated-{token}/bakeoff-{token}/1"
        assert json.loads(answer) == [2, [f"{top}/delegated-{token}/bakeoff-{token}"], ""]
