"""Judge a HumanEval solution.

Runs inside a sandbox, as ``/tests/check.py`` beside its ``humaneval_data.py``, on any Python from 3.8 with nothing installed.

Two processes. The *judge* holds the tests and does every comparison. The *worker* was forked before the judge read the tests,
gives up what rights it has, and runs the solution; all that passes between them is plain data, encoded. So the
solution never shares a process, a stack or a heap with an expected value, and what it patches is only its own.

Before any line of the solution runs, the judge has read the tests and removed them from the disk. Before the reward is
written, every process that the solution started is dead: the judge is their reaper, so none of them can get away.
The worker cannot signal, trace, starve or read the judge (seccomp, no capabilities, a judge that is not dumpable), even where
no second user id is to be had. Measured: about 30 ms of CPU for a problem, 10 of them Python's own start.

Usage: check.py [SOLUTION [TESTS [LOGS [SECONDS]]]]
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import stat
import struct
import sys
import time

TYPE_CHECKING = False  # the name that type checkers know; its module is not worth the time to load
if TYPE_CHECKING or __package__:
    from bakeoff.tasks.humaneval_data import Decoder, encode
else:
    # Beside this file, whose folder Python's isolated mode leaves out; and on no path of the solution's afterwards.
    sys.dont_write_bytecode = True
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from humaneval_data import Decoder, encode

    del sys.path[0]

MESSAGE_LIMIT = 4 << 20
SOURCE_LIMIT = 1 << 20
NOBODY = 65534
SIGKILL = 9
SIGSTOP = 19

_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38


class Failed(Exception):
    """The solution is wrong, for a reason that may be told."""


# ---- messages --------------------------------------------------------------------------------------------------------


class Wire:
    """Messages with their length in front, over two pipes, until a deadline (monotonic seconds)."""

    def __init__(self, reads: int, writes: int, deadline: float) -> None:
        self.reads, self.writes, self.deadline = reads, writes, deadline
        os.set_blocking(reads, False)
        os.set_blocking(writes, False)

    def _ready(self, handle: int, event: int) -> None:
        poll = select.poll()
        poll.register(handle, event)
        left = self.deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise Failed("the time limit was reached")

    def send(self, data: bytes) -> None:
        rest = memoryview(struct.pack(">I", len(data)) + data)
        while rest:
            self._ready(self.writes, select.POLLOUT)
            try:
                rest = rest[os.write(self.writes, rest) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise Failed("the process that ran it has ended") from None

    def receive(self) -> bytes:
        size: int = struct.unpack(">I", self._exactly(4))[0]
        if size > MESSAGE_LIMIT:
            raise Failed("the result is too large")
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            self._ready(self.reads, select.POLLIN)
            try:
                part = os.read(self.reads, min(size - len(data), 1 << 16))
            except BlockingIOError:
                continue
            if not part:
                raise Failed("the process that ran it has ended")
            data += part
        return bytes(data)


# ---- the worker ------------------------------------------------------------------------------------------------------

# Numbers of the system calls through which one process reaches another, by machine; _filter says which is which.
_REACHING_X86_64 = """62 200 234 129 297 424 434 438 101 310 311 141 142 144
    203 314 251 256 279 312 440 448 425 272 308 165 298 321"""
_REACHING_AARCH64 = """129 130 131 138 240 424 434 438 117 270 271 140 118 119
    122 274 30 238 239 272 440 448 425 97 268 40 241 280"""
_CALLS = {
    "x86_64": (0xC000003E, _REACHING_X86_64, (302, 72, 16)),
    "aarch64": (0xC00000B7, _REACHING_AARCH64, (261, 25, 29)),
}


def _filter(machine: str) -> bytes:
    """A seccomp program: EPERM for signals, tracing and scheduling of others, and for who-gets-the-signal of descriptors.

    In order of the lists above: kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_send_signal, pidfd_open,
    pidfd_getfd, ptrace, process_vm_readv, process_vm_writev, setpriority, sched_setparam, sched_setscheduler,
    sched_setaffinity, sched_setattr, ioprio_set, migrate_pages, move_pages, kcmp, process_madvise, process_mrelease,
    io_uring_setup, unshare, setns, mount, perf_event_open, bpf; and by argument prlimit64 (of others), fcntl (F_SETOWN,
    F_SETOWN_EX), ioctl (FIOSETOWN, SIOCSPGRP).
    """
    arch, calls, (prlimit, fcntl, ioctl) = _CALLS[machine]
    load, equal, above, give = 0x20, 0x15, 0x35, 0x06
    refuse, allow = (give, 0, 0, 0x00050001), (give, 0, 0, 0x7FFF0000)
    program = [(load, 0, 0, 4), (equal, 1, 0, arch), refuse, (load, 0, 0, 0), (above, 0, 1, 0x40000000), refuse]
    for call in calls.split():
        program += [(equal, 0, 1, int(call)), refuse]
    program += [(equal, 0, 4, prlimit), (load, 0, 0, 16), (equal, 0, 1, 0), allow, refuse]
    for call, bad in ((fcntl, (8, 15)), (ioctl, (0x8901, 0x8902))):
        program += [(equal, 0, 5, call), (load, 0, 0, 24), (equal, 1, 0, bad[0]), (equal, 0, 1, bad[1]), refuse, allow]
    program.append(allow)
    return b"".join(struct.pack("HBBI", *line) for line in program)


def confine(libc: ctypes.CDLL, seconds: float) -> None:
    """Give up every right that running a function does not need. What a machine cannot do is left out."""
    limits = (
        (resource.RLIMIT_AS, 512 << 20),
        (resource.RLIMIT_CPU, int(seconds) + 1),
        (resource.RLIMIT_FSIZE, 16 << 20),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_NPROC, 64),
    )
    for name, limit in limits:
        hard = resource.getrlimit(name)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(name, (limit, limit))
    if os.geteuid() == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        except OSError:
            pass  # no second id here: what follows has to do
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header, sets = struct.pack("II", 0x20080522, 0), bytes(24)
    libc.capset(header, sets)
    machine = os.uname().machine
    if machine in _CALLS:
        code = ctypes.create_string_buffer(_filter(machine))
        program = struct.pack("HxxxxxxP", (len(code) - 1) // 8, ctypes.addressof(code))
        libc.prctl(_PR_SET_SECCOMP, 2, program, 0, 0)


def work(solution: str, wire: Wire, libc: ctypes.CDLL, seconds: float) -> None:
    """Load the solution when the judge says so, then answer its calls. Never returns to the judge's code."""
    entry = wire.receive().decode()
    source = _source(solution)
    if source is None:
        wire.send(b"M")
        return
    # While it still may: whoever owns the folder can have closed it to others.
    os.chdir(os.path.dirname(solution))
    confine(libc, seconds)
    function = _load(solution, source, entry)
    if not callable(function):
        wire.send(b"U")
        return
    wire.send(b"L")
    while True:
        arguments = Decoder(wire.receive()).whole()
        assert isinstance(arguments, tuple)
        result: object = function(*arguments)  # pyright: ignore[reportUnknownArgumentType] - the tests' own arguments
        try:
            answer = b"R" + encode(result)
        except TypeError:
            answer = b"P"
        wire.send(answer if len(answer) <= MESSAGE_LIMIT else b"P")


def _source(path: str) -> bytes | None:
    """The solution's bytes, read while the rights to read them are still there; None where it is no ordinary file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        return None
    with open(handle, "rb") as stream:
        return stream.read(SOURCE_LIMIT)


def _load(path: str, source: bytes, entry: str) -> object:
    module = type(sys)("solution")
    module.__file__ = path
    sys.modules["solution"] = module
    sys.path.insert(0, os.path.dirname(path))
    sys.dont_write_bytecode = True
    sys.argv[:] = [path]
    exec(compile(source, path, "exec"), module.__dict__)  # noqa: S102 - running it is the point, and it is confined
    return module.__dict__.get(entry)


def start_worker(solution: str, libc: ctypes.CDLL, seconds: float) -> tuple[int, int]:
    """Fork the worker; the ends of the pipes that read from it and write to it."""
    ask, answer = os.pipe(), os.pipe()
    if os.fork() != 0:
        os.close(ask[0])
        os.close(answer[1])
        return answer[0], ask[1]
    try:
        _alone(ask[0], answer[1])
        wire = Wire(3, 4, time.monotonic() + 10 * seconds)
        try:
            work(solution, wire, libc, seconds)
        except BaseException as error:  # noqa: BLE001 - whatever a solution raises is its answer
            wire.send(b"E" + type(error).__name__.encode()[:60])
    finally:
        os._exit(1)


def _alone(reads: int, writes: int) -> None:
    """A session of its own, nothing open but the two pipes (3 and 4), and first in line when memory runs out."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    high = [os.dup2(handle, 60 + index) for index, handle in enumerate((reads, writes, nothing))]
    for handle in range(3):
        os.dup2(high[2], handle)
    os.dup2(high[0], 3, inheritable=False)
    os.dup2(high[1], 4, inheritable=False)
    os.closerange(5, min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1 << 16))
    try:
        with open("/proc/self/oom_score_adj", "w") as stream:
            stream.write("1000")
    except OSError:
        pass


# ---- the judge -------------------------------------------------------------------------------------------------------


def read_problem(path: str) -> dict[str, str]:
    """The encoded dictionary: entry_point, helpers (source that the tests need), test (source), modules (blank-separated)."""
    with open(path, "rb") as stream:
        problem = Decoder(stream.read()).whole()
    assert isinstance(problem, dict)
    return {str(key): str(value) for key, value in problem.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def judge(problem: dict[str, str], wire: Wire) -> None:
    """Run the problem's own tests against the worker. Raises Failed."""
    wire.send(problem["entry_point"].encode())
    loaded = wire.receive()
    if loaded[:1] != b"L":
        raise Failed(_reason(loaded))

    def candidate(*arguments: object) -> object:
        wire.send(encode(arguments))
        answer = wire.receive()
        if answer[:1] != b"R":
            raise Failed(_reason(answer))
        try:
            return Decoder(answer[1:]).whole()
        except (ValueError, TypeError, struct.error, OverflowError, RecursionError):
            raise Failed("it did not return plain data") from None

    names: dict[str, object] = {"__name__": "tests"}
    exec(problem["helpers"], names)  # noqa: S102 - the dataset's own code
    exec(problem["test"], names)  # noqa: S102
    check = names["check"]
    assert callable(check)
    try:
        check(candidate)
    except Failed:
        raise
    except AssertionError:
        raise Failed("a test does not hold") from None
    except Exception:  # noqa: BLE001 - a result that the tests cannot even look at is a wrong result
        raise Failed("a test could not use the result") from None


def _reason(answer: bytes) -> str:
    if answer[:1] == b"E":
        name = "".join(
            letter for letter in answer[1:61].decode("ascii", "replace") if letter.isalnum() or letter == "_"
        )
        return f"it raised {name}"
    return {b"M": "there is no such file", b"U": "it does not define the function"}.get(
        answer[:1], "it did not return plain data"
    )


def end_processes(seconds: float = 10.0) -> None:
    """Kill every process below this one, until none is left. Orphans come to this process, which is their reaper.

    Where there is more than the worker, all are stopped before any is killed: a stopped process keeps its place under the limit
    on processes, so those that fork without end run out of places, and none slips away.
    """
    deadline = time.monotonic() + seconds
    _signal(_below(direct=True), SIGKILL)
    while not _reaped() and time.monotonic() < deadline:
        stopped: set[int] = set()
        while fresh := _below() - stopped:
            _signal(fresh, SIGSTOP)
            stopped |= fresh
        _signal(stopped, SIGKILL)


def _signal(pids: set[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            pass


def _reaped() -> bool:
    """True when no child is left, after waiting a little for those that are about to end."""
    for _ in range(40):
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        time.sleep(0.0003)
    return False


def _below(direct: bool = False) -> set[int]:
    """The processes below this one that are not dead, or its own children alone."""
    me = os.getpid()
    if direct:
        try:
            with open(f"/proc/self/task/{me}/children") as stream:
                return {int(pid) for pid in stream.read().split()}
        except OSError:
            pass
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stream:
                    state, parent = stream.read().rpartition(")")[2].split()[:2]
            except (OSError, ValueError):
                continue
            if state not in "ZX":
                parents[int(name)] = int(parent)
    found: set[int] = set()
    edge = {me}
    while edge:
        edge = {pid for pid, parent in parents.items() if parent in edge} - found
        found |= edge
    return found


def clear(folder: int) -> None:
    """Remove all that is in an open folder, following no link. What cannot be removed stays."""
    for name in os.listdir(folder):
        try:
            if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                try:
                    clear(inner)
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)
        except OSError:
            continue


def open_folder(path: str) -> int:
    """The folder at ``path``, made where it is missing or where something else stands in its place."""
    try:
        if not stat.S_ISDIR(os.stat(path).st_mode):
            os.unlink(path)
    except OSError:
        if os.path.islink(path):
            os.unlink(path)
    os.makedirs(path, exist_ok=True)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def write_reward(folder: int, reward: int | None) -> None:
    """Make ``reward.txt`` the one thing in the folder, all at once; with no reward, leave nothing in it."""
    clear(folder)
    if reward is None:
        return
    name = f".reward.{os.getpid()}"
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=folder)
    with open(handle, "w") as stream:
        stream.write(f"{reward}\n")
    os.rename(name, "reward.txt", src_dir_fd=folder, dst_dir_fd=folder)


def main(arguments: list[str]) -> int:
    """Judge, write the reward, and say in one line what happened."""
    defaults = ["/app/solution.py", "/tests", "/logs/verifier", "20"]
    solution, tests, logs, limit = arguments + defaults[len(arguments) :]
    seconds = float(limit)
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    folder = open_folder(logs)
    clear(folder)
    reads, writes = start_worker(solution, libc, seconds)
    reward, said = None, ""
    try:
        problem = read_problem(os.path.join(tests, "problem"))
        for name in problem["modules"].split():
            __import__(name)
        # From here on nothing is imported from a disk that the solution might have written to.
        sys.path.clear()
        clear(os.open(tests, os.O_RDONLY | os.O_DIRECTORY))
        try:
            judge(problem, Wire(reads, writes, time.monotonic() + seconds))
            reward, said = 1, "passed"
        except Failed as error:
            reward, said = 0, f"failed: {error}"
    finally:
        # A judge that broke before it could judge leaves no reward.
        end_processes()
        try:
            write_reward(folder, reward)
        except OSError:
            pass  # the folder is no longer there: the next lines make it again
        again = open_folder(logs)
        if not os.path.sameopenfile(folder, again):
            write_reward(again, reward)
    print(f"solution.py: {said}")  # noqa: T201 - what the harness keeps as the verifier's output
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
