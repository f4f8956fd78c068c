#!/usr/bin/env python3
"""Keeps one worker running.

The supervisor adopts what the worker's processes leave behind (it is their "subreaper"), so that it can end and reap them. It takes
its signals one at a time where it waits, never in handlers.
"""

import ctypes
import json
import os
import signal
import sys
import time

TOLD_TO_END = (signal.SIGTERM, signal.SIGINT)
TAKEN = {*TOLD_TO_END, signal.SIGHUP, signal.SIGCHLD}
NUMBERS = ("first_delay", "factor", "max_delay", "max_restarts", "steady_after", "grace")
NOT_STARTED = 127
FAILED, BAD_CONFIG, RUNS_ALREADY, KILLED = 1, 2, 3, 4


class Supervisor:
    def __init__(self, config):
        self.config = config
        self.restarts = 0
        self.last_exit = None
        self.killed = False

    def tell(self, state, pid=None, delay=None):
        path = self.config["status_file"]
        status = {"state": state, "pid": pid, "restarts": self.restarts, "last_exit": self.last_exit, "delay": delay}
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump(status, file)
        os.replace(f"{path}.new", path)

    def run(self):
        """The supervisor's exit code."""
        row, delay = 0, self.config["first_delay"]
        while True:
            begun = time.monotonic()
            stopped = self.run_once()
            if stopped:
                self.tell("stopped")
                return KILLED if self.killed else 0
            if self.last_exit == 0:
                self.tell("done")
                return 0
            if time.monotonic() - begun >= self.config["steady_after"]:
                row, delay = 0, self.config["first_delay"]
            if row >= self.config["max_restarts"]:
                self.tell("failed")
                return FAILED
            delay = min(delay, self.config["max_delay"])
            self.tell("waiting", delay=delay)
            if self.told_to_end_within(delay):
                self.tell("stopped")
                return 0
            row, delay = row + 1, delay * self.config["factor"]
            self.restarts += 1

    def told_to_end_within(self, seconds):
        deadline = time.monotonic() + seconds
        while True:
            info = signal.sigtimedwait(TAKEN, max(deadline - time.monotonic(), 0))
            if info is None:
                return False
            if info.si_signo in TOLD_TO_END:
                return True

    def run_once(self):
        """Run the worker to its end and end what it leaves. True if the supervisor was told to end meanwhile."""
        pid = self.start()
        if pid is None:
            self.last_exit = NOT_STARTED
            return False
        self.tell("running", pid)
        status, deadline = None, None
        while status is None:
            left = None if deadline is None else max(deadline - time.monotonic(), 0)
            info = signal.sigwaitinfo(TAKEN) if left is None else signal.sigtimedwait(TAKEN, left)
            if info is not None and info.si_signo in TOLD_TO_END and deadline is None:
                os.kill(pid, signal.SIGTERM)
                deadline = time.monotonic() + self.config["grace"]
            elif info is not None and info.si_signo == signal.SIGHUP:
                os.kill(pid, signal.SIGHUP)
            status = reap(pid)
            if status is None and info is None:
                os.kill(pid, signal.SIGKILL)
                self.killed = True
                status = os.waitpid(pid, 0)[1]
        self.last_exit = os.waitstatus_to_exitcode(status)
        end_children()
        return deadline is not None

    def start(self):
        command = self.config["command"]
        try:
            return os.posix_spawnp(
                command[0],
                command,
                os.environ,
                file_actions=[(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)],
                setpgroup=0,
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
            )
        except OSError:
            return None


def reap(worker):
    """Take in all children that have ended; the worker's status if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == worker:
            found = status


def end_children():
    """Kill and reap until there are none: what they leave is adopted and comes next."""
    while True:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            children = file.read().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def read_config(path):
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    command = config["command"]
    if not isinstance(command, list) or not command or not all(isinstance(part, str) for part in command):
        raise ValueError("command is not a list of strings")
    for key in ("pid_file", "status_file"):
        if not isinstance(config[key], str):
            raise ValueError(f"{key} is not a path")
    for key in NUMBERS:
        if not isinstance(config[key], (int, float)):
            raise ValueError(f"{key} is not a number")
    return config


def names_living(path):
    """Whether the file has the id of a process that is alive."""
    try:
        with open(path, encoding="utf-8") as file:
            pid = int(file.read())
        if pid <= 0:
            return False
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return True


def main():
    try:
        config = read_config(sys.argv[1])
    except (OSError, ValueError, LookupError, TypeError) as error:
        print(f"supervise: {' '.join(sys.argv[1:])}: {error!r}", file=sys.stderr)
        return BAD_CONFIG
    if names_living(config["pid_file"]):
        print(f"supervise: {config['pid_file']} is another's", file=sys.stderr)
        return RUNS_ALREADY
    set_child_subreaper = 36
    ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, TAKEN)
    with open(config["pid_file"], "w", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    try:
        return Supervisor(config).run()
    finally:
        os.unlink(config["pid_file"])


sys.exit(main())
