"""Starts what the agent wrote where it cannot reach the verdict: as nobody, where there is one, and with an end to all it started.

To be imported before the first process is started.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NOBODY = 65534
PR_SET_CHILD_SUBREAPER = 36


def _user() -> dict[str, Any]:
    """Options that make a process nobody's; none where this process has not the right or the ids to do so."""
    options: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
        os.chown(folder, NOBODY, NOBODY)
        trial = [shutil.which("python3") or sys.executable, "-c", "open('trial', 'w').close()"]
        if subprocess.run(trial, cwd=folder, stderr=subprocess.DEVNULL, timeout=20, **options).returncode == 0:
            return options
    return {}


with contextlib.suppress(OSError, AttributeError):
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
USER = _user()
for place, mode in (("/tests", 0o700), ("/logs/verifier", 0o755)):
    with contextlib.suppress(OSError):
        os.chmod(place, mode)


def own(top: Path) -> None:
    """Give a folder and all in it to the user that programs are started as, modes unchanged."""
    for path in _all(top) if USER else ():
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        found = os.lstat(path)
        if not stat.S_ISLNK(found.st_mode):
            os.chmod(path, stat.S_IMODE(found.st_mode))


def open_up(top: Path, *but: Path) -> None:
    """Let that user read a folder and all in it, whatever umask it was made under; ``but``: paths that stay as they are."""
    for path in _all(top, but) if USER else ():
        found = os.lstat(path)
        if stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode):
            runs = 0o055 if found.st_mode & 0o100 else 0o044
            os.chmod(path, stat.S_IMODE(found.st_mode) | runs)


def _all(top: Path, but: tuple[Path, ...] = ()) -> Iterator[Path]:
    waiting = [top]
    while waiting:
        path = waiting.pop()
        if path not in but:
            yield path
            if stat.S_ISDIR(os.lstat(path).st_mode):
                waiting += path.iterdir()


def _descendants() -> set[int]:
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            state, parent = Path("/proc", entry, "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            if entry.isdigit() and state != "Z":
                parents[int(entry)] = int(parent)
    found: set[int] = set()
    wave = {os.getpid()}
    while wave:
        wave = {pid for pid, parent in parents.items() if parent in wave} - found
        found |= wave
    return found


def end_all() -> bool:
    """End all that was started and all that came from it; whether that worked. To be called last: nothing is spared."""
    deadline = time.monotonic() + 10
    while (left := _descendants()) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.002)
    return not left
