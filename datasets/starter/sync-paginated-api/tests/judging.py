"""What judges of programs share. Tasks stand alone: each that needs it has a copy as tests/judging.py, the same byte for byte.

A program that the agent made runs as nobody where there is such a user, can write nowhere but in the folder for temporary files where
the kernel has Landlock, is bounded, and nothing that it started lives on. Files that it left are read without following a link.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

NOBODY = 65534
MEMORY = 2 << 30  # bytes of addresses, for each process
LIBC = ctypes.CDLL(None)
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446  # the same on every architecture
LANDLOCK_WRITES = {1: 0x1FF2, 2: 0x3FF2, 3: 0x7FF2}  # writing, making, moving and removing files, by version
LANDLOCK_SCOPES = 0x3  # abstract sockets and signals, since version 6


class Wrong(Exception):
    """What does not hold, for the log."""


class Ended(NamedTuple):
    """How a program ended: no code if its time was up. Of what it printed, there may be a byte more than it was allowed."""

    code: int | None
    out: bytes
    err: bytes


def read_file(path: str, most: int, name: str = "") -> bytes:
    """The bytes of a regular file. Wrong, with the name before it, for links, devices and what has more than ``most`` bytes."""
    said = f"{name}: " if name else ""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise Wrong(f"{said}cannot be opened ({error.strerror})") from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Wrong(f"{said}not a regular file")
        with open(fd, "rb", closefd=False) as file:
            data = file.read(most + 1)
    finally:
        os.close(fd)
    if len(data) > most:
        raise Wrong(f"{said}too big")
    return data


def parse_json(data: bytes, name: str = "", **options: Any) -> Any:
    """JSON in UTF-8, with options of ``json.loads``. Wrong for all else. The data is bounded already."""
    try:
        return json.loads(data.decode("utf-8"), **options)
    except (ValueError, ArithmeticError, RecursionError):
        raise Wrong(f"{name}: no JSON in UTF-8" if name else "no JSON in UTF-8") from None


class Apart:
    """Where programs run. To be made before the first process is started.

    ``file_bytes``: the most that a program writes into a file, or prints. ``memory``: bytes of addresses for each process, None for
    any. ``processes``: how many more the user may start, None for any. ``writable``: folders beside the one for temporary files.
    ``alone``: one program at a time, so that all that lives on after it is ended at once; otherwise that is done at the end of a ``with``.
    """

    def __init__(
        self, *, file_bytes: int, memory: int | None = MEMORY, processes: int | None = None, writable: Iterable[str] = (),
        alone: bool = True,
    ) -> None:  # fmt: skip
        # What a dead parent leaves behind comes to us, and not to init.
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.user = _lesser_user()
        self.alone, self.file_bytes = alone, file_bytes
        self._fence = _fence([os.path.realpath(tempfile.gettempdir()), "/dev", *writable])
        self._limits = [(resource.RLIMIT_FSIZE, file_bytes), (resource.RLIMIT_CORE, 0)]
        self._limits += [] if memory is None else [(resource.RLIMIT_AS, memory)]
        self._limits += [] if processes is None else [(resource.RLIMIT_NPROC, processes)]

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_all()

    def own(self, top: str) -> None:
        """Give a file, or a folder and all in it, to the user that programs are started as, modes unchanged."""
        for path, found in _all(top, ()) if self.user else ():
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode) and found.st_mode & 0o6000:
                os.chmod(path, stat.S_IMODE(found.st_mode))  # these bits are gone

    def open_up(self, top: str, *but: str) -> None:
        """Let that user read a folder and all in it, whatever umask it was made under; ``but``: paths that stay as they are."""
        for path, found in _all(top, but) if self.user else ():
            if stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode):
                os.chmod(path, stat.S_IMODE(found.st_mode) | (0o055 if found.st_mode & 0o100 else 0o044))

    def start(self, argv: list[str], folder: str, out: Any, err: Any, **env: str) -> subprocess.Popen[Any]:
        """A program, bounded, as the leader of a group, in a folder that is its home, with nothing more around it than ``env``."""
        path = os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin")
        base = {"PATH": path, "HOME": folder, "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder, env={**base, **env}, start_new_session=True,
            preexec_fn=self._bound, **self.user,
        )  # fmt: skip

    def run(self, argv: list[str], seconds: float, folder: str, **env: str) -> Ended:
        """A program to its end, or to that of its time. Wrong where it leaves processes that cannot be ended."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = self.start(argv, folder, out, err, **env)
            late = threading.Event()
            # Popen.wait with a time-out looks only every 50 ms.
            alarm = threading.Timer(max(0.0, seconds), lambda: (late.set(), end(process, wait=False)))
            alarm.start()
            try:
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            finally:
                alarm.cancel()
                alarm.join()
                end(process)
                if self.alone:
                    self.end_all()
            out.seek(0)
            err.seek(0)
            code = None if late.is_set() else process.returncode
            return Ended(code, out.read(self.file_bytes + 1), err.read(self.file_bytes + 1))

    def end_all(self) -> None:
        """End all that was started and all that came from it: nothing is spared. Wrong where that does not work."""
        deadline = time.monotonic() + 10
        while left := _descendants():
            if time.monotonic() > deadline:
                raise Wrong("processes are left that cannot be ended")
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            time.sleep(0.001)

    def _bound(self) -> None:
        for limit, most in self._limits:
            resource.setrlimit(limit, (most, most))
        if self._fence is not None:
            LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            if LIBC.syscall(LANDLOCK_RESTRICT_SELF, self._fence, 0) != 0:
                raise OSError("the rules of Landlock cannot be laid on")


def end(process: subprocess.Popen[Any], wait: bool = True) -> None:
    """End a program and its group."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    if wait:
        process.wait()


def _lesser_user() -> dict[str, Any]:
    """Options that start a program as a user that can neither end this process nor write the verdict, where that is possible."""
    options: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
        os.chown(folder, NOBODY, NOBODY)
        trial = [sys.executable, "-I", "-S", "-c", "open('trial', 'w').close()"]
        if subprocess.run(trial, cwd=folder, stderr=subprocess.DEVNULL, timeout=20, **options).returncode == 0:
            return options
    return {}


def _fence(writable: list[str]) -> int | None:
    """Rules of Landlock: no file elsewhere can be written, no process outside be signalled. None where the kernel has none.

    They matter where a sandbox has a single user, which the program then shares with the judge.
    """
    version = LIBC.syscall(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return None
    writes = LANDLOCK_WRITES[min(version, 3)]
    handled = struct.pack("QQQ", writes, 0, LANDLOCK_SCOPES if version >= 6 else 0)
    rules = LIBC.syscall(LANDLOCK_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    if rules < 0:
        return None
    for path in writable:
        with contextlib.suppress(OSError):
            place = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)  # a link would open what it points to
            LIBC.syscall(LANDLOCK_ADD_RULE, rules, 1, struct.pack("=Qi", writes, place), 0)
            os.close(place)
    return rules


def _all(top: str, but: Iterable[str]) -> Iterator[tuple[str, os.stat_result]]:
    waiting, spared = [top], set(but)
    while waiting:
        path = waiting.pop()
        if path not in spared:
            found = os.lstat(path)
            yield path, found
            if stat.S_ISDIR(found.st_mode):
                waiting += [entry.path for entry in os.scandir(path)]


def _descendants() -> set[int]:
    """Also the dead ones that nobody has waited for: where only its first thread has ended, a program looks like one of them."""
    parents: dict[int, int] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{name}/stat", "rb") as file:
            parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    found: set[int] = set()
    wave = {os.getpid()}
    while wave:
        wave = {pid for pid, parent in parents.items() if parent in wave} - found
        found |= wave
    return found
