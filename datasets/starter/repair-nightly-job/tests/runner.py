"""Runs the job: under the scheduler's environment, as nobody where there is one, and with an end to every process it started."""

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

NOBODY = 65534
PR_SET_CHILD_SUBREAPER = 36
TIMEOUT = 20
PATH = "/usr/bin:/bin"
if not Path("/usr/bin/python3").exists() and not Path("/bin/python3").exists():
    PATH += f":{Path(sys.executable).parent}"

overdue: "list[Run]" = []  # runs that had to be ended


def adopt():
    """Makes this process the parent of every process whose own parent ended, if that came from here."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _identity():
    """What makes a process nobody's, if this one has the right and the ids to do so."""
    options = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    try:
        done = subprocess.run(["/bin/sh", "-c", "exit 7"], stdin=subprocess.DEVNULL, **options)
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}
    return options if done.returncode == 7 else {}


IDENTITY = _identity()


def own(path):
    """Gives a file or folder to the user that the job runs as."""
    if IDENTITY:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def _descendants():
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text(errors="replace")
            except OSError:
                continue
            state, parent = stat.rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(entry)] = int(parent)
    found, wave = set(), {os.getpid()}
    while wave:
        wave = {pid for pid, parent in parents.items() if parent in wave} - found
        found |= wave
    return found


def end_all():
    """Ends every process that came from the job, whatever session it is in."""
    while True:
        left = _descendants()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        if not left:
            return
        time.sleep(0.002)


class Run:
    """One started run. ``status`` is None until it ended, and ``"too long"`` if it had to be ended."""

    def __init__(self, argv, settings=None, file_limit=None):
        def limits():
            if file_limit is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

        self.status = None
        self._process = subprocess.Popen(
            [str(part) for part in argv],
            env={"PATH": PATH, **(settings or {})},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            restore_signals=False,
            preexec_fn=limits if file_limit is not None else None,
            **IDENTITY,
        )

    def running(self):
        return self._process.poll() is None

    def signal(self, number):
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            pass

    def kill(self):
        self.signal(signal.SIGKILL)
        self._process.wait()
        end_all()

    def wait(self, timeout=TIMEOUT):
        try:
            self.status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.status = "too long"
            overdue.append(self)
        self.signal(signal.SIGKILL)
        self._process.wait()
        return self.status


def run(argv, timeout=TIMEOUT, **options):
    """The exit status of a whole run."""
    try:
        status = Run(argv, **options).wait(timeout)
    except OSError:
        status = "cannot be started"
    end_all()
    return status
