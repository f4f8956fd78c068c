"""Run what the agent made apart from the judge: as a lesser user where there is one, and with nothing of it left afterwards."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import tempfile
import threading
import time
from typing import Any

NOBODY = 65534
PR_SET_CHILD_SUBREAPER = 36
FILE_LIMIT = 16 << 20  # bytes, of each file that it writes


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))  # it starts none
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def lesser_user() -> dict[str, Any]:
    """Options that start a process as a user that can neither end the judge nor look into it, where that is possible."""
    options: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
        os.chown(folder, NOBODY, NOBODY)
        trial = subprocess.run(["sh", "-c", ": >trial"], cwd=folder, stderr=subprocess.DEVNULL, timeout=10, **options)
        if trial.returncode == 0:
            return options
    return {}


def _children() -> list[int]:
    found: list[int] = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
                if int(file.read().rpartition(b")")[2].split()[1]) == os.getpid():
                    found.append(int(name))
    return found


class Apart:
    """Where it runs. ``own`` gives it a file or folder; ``run`` runs a command."""

    def __init__(self) -> None:
        # What a dead parent leaves behind comes to us, and not to init.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.user = lesser_user()
        with contextlib.suppress(OSError):
            os.chmod("/tests", 0o700)

    def own(self, path: str) -> None:
        if self.user:
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)

    def run(self, command: list[str], seconds: float, **options: Any) -> int | None:
        """The exit code; None where its time was up. Raises RuntimeError where it leaves processes that cannot be ended."""
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_limit, **self.user, **options
        )
        late = threading.Event()

        def stop() -> None:
            late.set()
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)

        # Popen.wait with a time-out looks only every 50 ms.
        alarm = threading.Timer(max(0.1, seconds), stop)
        alarm.start()
        try:
            code = process.wait()
        finally:
            alarm.cancel()
            alarm.join()
            self._end(process.pid)
        return None if late.is_set() else code

    def _end(self, group: int) -> None:
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while left := _children():
            if time.monotonic() > deadline:
                raise RuntimeError("processes are left that cannot be ended")
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(OSError):
                    os.waitpid(pid, 0)
