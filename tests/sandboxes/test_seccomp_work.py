"""Ordinary work goes on under the filter, for root and for others, and the filter stays on whatever is started."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
from filtered import ORDINARY_ID, SOURCE

from bakeoff.sandboxes.which import bubblewrap
from bakeoff.sandboxes.zygote import seccomp

PYTHON = "/usr/bin/python3"
USERS = ("root", "ordinary") if os.geteuid() == 0 else ("ordinary",)

# Install the filter as the zygote does, then become the command.
LAUNCH = """
import os, sys
source, program, uid, *argv = sys.argv[1:]
sys.path.insert(0, source)
from bakeoff.sandboxes.zygote import seccomp, syscalls
if int(uid) >= 0:
    os.setgroups([])
    os.setresgid(*[int(uid)] * 3)
    os.setresuid(*[int(uid)] * 3)
if program:
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.install(bytes.fromhex(program))
os.execvp(argv[0], argv)
"""


@pytest.fixture(params=USERS)
def user(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    name: str = request.param
    if os.geteuid() == 0 and name == "ordinary":
        for folder in (tmp_path, *list(tmp_path.parents)[:-2]):
            folder.chmod(0o755)
        os.chown(tmp_path, ORDINARY_ID, ORDINARY_ID)
    return name


def under(
    place: Path, user: str, argv: Sequence[str], program: bytes | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``argv`` in ``place`` as ``user`` under the whole filter, or under ``program`` (empty: none)."""
    chosen = seccomp.program() if program is None else program
    uid = str(ORDINARY_ID) if user == "ordinary" and os.geteuid() == 0 else "-1"
    return subprocess.run(
        [PYTHON, "-IS", "-c", LAUNCH, str(SOURCE), chosen.hex(), uid, *argv],
        cwd=place,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(place), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


WORK = """
import asyncio, concurrent.futures, mmap, multiprocessing, os, pty, select, socket, subprocess, sys, tempfile, threading

def double(value):
    return 2 * value

if __name__ == "__main__":
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        assert list(threads.map(double, range(8))) == list(range(0, 16, 2))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(double, [1, 2]) == [2, 4]
    assert subprocess.run("echo $((6*7)) | cat", shell=True, capture_output=True).stdout == b"42\\n"

    async def other():
        process = await asyncio.create_subprocess_exec("true")
        return await process.wait()
    assert asyncio.run(other()) == 0

    with socket.create_server(("127.0.0.1", 0)) as door:
        with socket.create_connection(door.getsockname()) as out, door.accept()[0] as come:
            out.sendall(b"hello")
            assert come.recv(5) == b"hello"
    left, right = socket.socketpair()
    left.send(b"x")
    assert select.select([right], [], [], 1)[0] == [right]
    socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
    assert socket.if_nameindex()
    assert socket.getaddrinfo("127.0.0.1", 80)

    pid, master = pty.fork()
    if pid == 0:
        os.execvp("tty", ["tty"])
    assert b"/dev/pts/" in os.read(master, 100)
    os.waitpid(pid, 0)

    with tempfile.TemporaryFile() as file:
        file.write(b"mapped")
        file.flush()
        assert mmap.mmap(file.fileno(), 6)[:] == b"mapped"
    os.close(os.memfd_create("x"))
    with select.epoll() as poll:
        poll.register(right, select.EPOLLIN)
        assert poll.poll(1)
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    os.nice(1)
    print("worked", os.getuid())
"""


def test_a_program_with_threads_processes_sockets_and_terminals_works(tmp_path: Path, user: str) -> None:
    script = tmp_path / "work.py"
    script.write_text(WORK)
    ran = under(tmp_path, user, [PYTHON, "-I", str(script)])
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("worked")


TRACE = """
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long
word = ctypes.c_long(1)
pid = os.fork()
if pid == 0:
    libc.ptrace(0, 0, None, None)
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(word.value)
assert os.WIFSTOPPED(os.waitpid(pid, 0)[1])
assert libc.ptrace(1, pid, ctypes.addressof(word), None) == 1
assert libc.ptrace(4, pid, ctypes.addressof(word), 7) == 0
assert libc.ptrace(7, pid, None, None) == 0
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
"""


def test_a_debugger_works_on_its_own_child(tmp_path: Path, user: str) -> None:
    ran = under(tmp_path, user, [PYTHON, "-I", "-c", TRACE])
    assert (ran.returncode, ran.stderr) == (0, "")


# On x86_64 a tracer skips a call by writing -1 for its number (offset 120), and answers in its place (offset 80).
SKIP = """
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long
pid = os.fork()
if pid == 0:
    libc.ptrace(0, 0, None, None)
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(libc.syscall(110))
os.waitpid(pid, 0)
while True:
    assert libc.ptrace(24, pid, None, None) == 0
    assert os.WIFSTOPPED(os.waitpid(pid, 0)[1])
    if libc.ptrace(3, pid, 120, None) == 110:
        break
assert libc.ptrace(6, pid, 120, ctypes.c_void_p(-1)) == 0
assert libc.ptrace(6, pid, 80, 42) == 0
assert libc.ptrace(7, pid, None, None) == 0
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="registers lie elsewhere")
def test_a_tracer_can_answer_a_call_itself(tmp_path: Path, user: str) -> None:
    ran = under(tmp_path, user, [PYTHON, "-I", "-c", SKIP])
    assert (ran.returncode, ran.stderr) == (0, "")


GIT = """
set -e
git init -q a; cd a
git config user.email a@b; git config user.name a; git config gc.auto 0
echo one > file; git add file; git commit -qm one
cd ..; git clone -q a b; cat b/file
"""
C = """
#include <pthread.h>
#include <stdio.h>
static void *run(void *left) { puts("one"); return left; }
int main(void) { pthread_t t; pthread_create(&t, 0, run, 0); pthread_join(t, 0); return 0; }
"""
NODE = """
const {Worker} = require("worker_threads"), fs = require("fs"), {execFileSync} = require("child_process");
fs.writeFileSync("file", "on");
fs.promises.readFile("file", "utf8").then((on) => new Worker(
    "require('worker_threads').parentPort.postMessage('e')", {eval: true}
).on("message", (e) => process.stdout.write(on + e + execFileSync("echo"))));
"""
COMMANDS = {
    "git": ["sh", "-c", GIT],
    "gcc": ["sh", "-c", "gcc -pthread -o run run.c && ./run"],
    "node": ["node", "-e", NODE],
    "strace": ["strace", "-f", "-o", "trace", "sh", "-c", "echo one | cat"],
    "make": ["make", "-s", "-j2", "all"],
    "tar": ["sh", "-c", "echo one > f; tar cf - f | tar xOf -"],
}


@pytest.mark.parametrize("name", [name for name in COMMANDS if shutil.which(name)])
def test_tools_work(tmp_path: Path, user: str, name: str) -> None:
    (tmp_path / "run.c").write_text(C)
    (tmp_path / "Makefile").write_text("all: a b\n\t@echo one\na b:\n\t@true\n")
    ran = under(tmp_path, user, COMMANDS[name])
    assert ran.returncode == 0, ran.stderr
    assert "one" in ran.stdout.splitlines()


STEAL = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
secret = ctypes.create_string_buffer(b"secret")
reads, writes = os.pipe()
pid = os.fork()
if pid == 0:
    os.read(reads, 1)
    os._exit(0)
found = ctypes.create_string_buffer(6)
here, there = struct.pack("PN", ctypes.addressof(found), 6), struct.pack("PN", ctypes.addressof(secret), 6)
got = libc.process_vm_readv(pid, here, ctypes.c_ulong(1), there, ctypes.c_ulong(1), ctypes.c_ulong(0))
print(found.raw.decode() if got == 6 else os.strerror(ctypes.get_errno()))
os.write(writes, b"x")
os.wait()
"""
TYPE = """
import fcntl, os, pty, termios, tty
pid, master = pty.fork()
if pid == 0:
    for letter in b"rm -r x":
        try:
            fcntl.ioctl(0, termios.TIOCSTI, bytes([letter]))
        except OSError as error:
            os.write(1, os.strerror(error.errno).encode())
            os._exit(0)
    os._exit(0)
said = b""
while pid:
    try:
        said += os.read(master, 100)
    except OSError:  # the other end is closed
        break
print(said.decode())
os.waitpid(pid, 0)
"""
RING = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
params = ctypes.create_string_buffer(120)
print("a ring" if libc.syscall(425, 4, params) >= 0 else os.strerror(ctypes.get_errno()))
"""
KEY = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
number = {"x86_64": 248, "aarch64": 217}[os.uname().machine]
key = libc.syscall(number, b"user", b"note", b"for later", ctypes.c_long(9), ctypes.c_long(-2))
print("a key" if key > 0 else os.strerror(ctypes.get_errno()))
"""
# What is tried, and what it says when it succeeds and when it is refused.
ATTACKS = {
    "process-memory": (STEAL, "secret", "Operation not permitted"),
    "io-uring": (RING, "a ring", "Function not implemented"),
    "keyring": (KEY, "a key", "Operation not permitted"),
    "terminal": (TYPE, "rm -r x", "Operation not permitted"),
    "sockets": (
        "import socket\ntry:\n socket.socket(16, 3, 15)\n print('events')\nexcept OSError as e:\n print(e.strerror)",
        "events",
        "Protocol not supported",
    ),
    "kernel": (
        "import os, ctypes\nl = ctypes.CDLL(None, use_errno=True)\nn = {'x86_64': 139, 'aarch64': 239}[os.uname().machine]\n"
        "a = (3,) if n == 139 else (0, 1, 0, 0, 0, 0)\nr = l.syscall(n, *a)\n"
        "print('it answers' if r != -1 or ctypes.get_errno() != 1 else os.strerror(1))",
        "it answers",
        "Operation not permitted",
    ),
    "personality": (
        "import os, ctypes\nl = ctypes.CDLL(None, use_errno=True)\nr = l.personality(0x440000)\n"
        "print('executable' if r >= 0 else os.strerror(ctypes.get_errno()))",
        "executable",
        "Operation not permitted",
    ),
    "user-namespaces": (
        "import os, ctypes\nl = ctypes.CDLL(None, use_errno=True)\nr = l.unshare(0x10000000)\n"
        "print('a namespace' if r >= 0 else os.strerror(ctypes.get_errno()))",
        "a namespace",
        "Operation not permitted",
    ),
}


# Runs every attack in a process of its own, and says what each printed.
TRY_ALL = """
import json, os, sys
said = {}
for group, script in json.loads(sys.argv[1]).items():
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writes, 1)
        exec(script, {"__name__": "attack"})
        sys.stdout.flush()
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as stream:
        said[group] = stream.read().strip()
    os.waitpid(pid, 0)
print(json.dumps(said))
"""

FORBIDDEN_ANYWAY = {
    "terminal": ("dev/tty/legacy_tiocsti", "0"),
    "io-uring": ("kernel/io_uring_disabled", "2"),
    "user-namespaces": ("kernel/unprivileged_userns_clone", "0"),
}


def possible(group: str) -> bool:
    """Whether the machine's own settings would let the attack succeed."""
    name, closed = FORBIDDEN_ANYWAY.get(group, ("", ""))
    try:
        return Path("/proc/sys", name).read_text().strip() != closed if name else True
    except OSError:
        return True


def attack(place: Path, user: str, program: bytes) -> dict[str, str]:
    scripts = {group: script for group, (script, _, _) in ATTACKS.items() if possible(group)}
    ran = under(place, user, [PYTHON, "-I", "-c", TRY_ALL, json.dumps(scripts)], program)
    assert (ran.returncode, ran.stderr) == (0, "")
    said: dict[str, str] = json.loads(ran.stdout)
    return said


def expected(succeeding: Collection[str]) -> dict[str, str]:
    return {
        group: success if group in succeeding else refusal
        for group, (_, success, refusal) in ATTACKS.items()
        if possible(group)
    }


def test_every_protection_has_an_attack() -> None:
    assert ATTACKS.keys() == seccomp.GROUPS.keys()


def test_every_attack_succeeds_without_the_filter_and_none_with_it(tmp_path: Path, user: str) -> None:
    assert attack(tmp_path, user, b"") == expected(ATTACKS)
    assert attack(tmp_path, user, seccomp.program()) == expected(())


@pytest.mark.parametrize("group", ATTACKS)
def test_with_one_protection_lifted_one_attack_succeeds(tmp_path: Path, group: str) -> None:
    assert attack(tmp_path, USERS[0], seccomp.program((group,))) == expected((group,))


def test_nothing_that_is_started_gets_rid_of_the_filter(tmp_path: Path, user: str) -> None:
    show = "grep -E '^Seccomp(_filters)?:' /proc/self/status"
    ran = under(tmp_path, user, ["sh", "-c", f'(setsid sh -c "{show}")'])
    assert ran.stdout.split() == ["Seccomp:", "2", "Seccomp_filters:", "1"]


def test_bubblewrap_takes_the_program_from_a_descriptor() -> None:
    fd = seccomp.descriptor(seccomp.program())
    try:
        ran = subprocess.run(
            [bubblewrap().path, "--ro-bind", "/", "/", "--seccomp", str(fd), PYTHON, "-I", "-c", KEY],
            pass_fds=[fd],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(fd)
    assert ran.stdout.strip() == "Operation not permitted", ran.stderr


def test_without_no_new_privileges_an_ordinary_user_is_told(tmp_path: Path) -> None:
    launch = LAUNCH.replace("    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)\n", "")
    uid = str(ORDINARY_ID) if os.geteuid() == 0 else "-1"
    argv = [PYTHON, "-IS", "-c", launch, str(SOURCE), seccomp.program().hex(), uid, "true"]
    ran = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert "PermissionError" in ran.stderr or "Permission denied" in ran.stderr
