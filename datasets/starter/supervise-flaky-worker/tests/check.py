"""Runs the supervisor with workers that fail in many ways, all at the same time, and watches it from outside.

A worker opens a pipe of its own run for writing and never closes it. Whatever it starts has that pipe too, so its reader learns
when the last process of a run is gone, however it hides. Waiting is always for a condition; times are only ever too short, never too long.
A supervisor that will not do what is waited for is known by its sleep: it and all that it started sleep on for much longer than any
delay of the scenario, without waking once. What is only slow, on a busy machine, does not sleep but wants to run.
"""

import concurrent.futures
import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

SUPERVISE = "/app/supervise"
PATIENCE = 25.0
LOOK = 0.1
ASLEEP = 30
RUNS = 6
NO_PROCESS = 4194999
CLOCK_STEP = 0.03

BEGIN = """
dir=$1
read -r up _ </proc/uptime
echo "$up $$" >>"$dir/starts"
run=$(grep -c . "$dir/starts")
exec 9>"$dir/alive.$run"
finish() { read -r up _ </proc/uptime; echo "$up" >>"$dir/ends"; exit "$1"; }
"""

failures = []
lock = threading.Lock()
top = pathlib.Path(tempfile.mkdtemp(prefix="check-"))


class StopError(Exception):
    """Without this, nothing that follows in a scenario can be judged."""


def content(path):
    """The text of a file; "" where there is none. A pipe in its place does not block, and of a huge file only the beginning is read."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8", errors="replace") as file:
            return file.read(100_000)
    except OSError:
        return ""


class Sleep:
    """Counts how many times in a row a process and all below it were seen asleep, and had not been awake in between."""

    def __init__(self, pid):
        self.pid = pid
        self.before = None
        self.count = 0
        self.next = 0.0

    def is_endless(self):
        now = time.monotonic()
        if now >= self.next:
            self.next = now + LOOK
            seen = asleep(self.pid)
            self.count = self.count + 1 if seen is not None and seen == self.before else 0
            self.before = seen
        return self.count >= ASLEEP


def asleep(pid):
    """Which threads there are from a process downwards, and how often each has slept; None if one of them is not asleep."""
    found, todo = {}, [str(pid)]
    try:
        while todo:
            tasks = f"/proc/{todo.pop()}/task"
            for task in os.listdir(tasks):
                status = pathlib.Path(f"{tasks}/{task}/status").read_text(errors="replace")
                about = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
                if about["State"].split()[0] in "RD":
                    return None
                found[task] = about.get("voluntary_ctxt_switches"), about.get("nonvoluntary_ctxt_switches")
                todo += pathlib.Path(f"{tasks}/{task}/children").read_text().split()
    except (OSError, ValueError, LookupError):
        return None
    return found


class Scenario:
    """A folder, a config and a supervisor."""

    def __init__(self, name, script, **settings):
        self.name = name
        self.folder = top / name
        self.folder.mkdir()
        self.pid_file = self.folder / "pid"
        self.status_file = self.folder / "status"
        self.out = self.folder / "out"
        self.pipes = []
        for run in range(1, RUNS + 1):
            os.mkfifo(self.folder / f"alive.{run}")
            self.pipes.append(os.open(self.folder / f"alive.{run}", os.O_RDONLY | os.O_NONBLOCK))
        self.config = {
            "command": ["sh", "-c", BEGIN + script, "worker", str(self.folder)],
            "pid_file": str(self.pid_file),
            "status_file": str(self.status_file),
            "first_delay": 0.01,
            "factor": 1,
            "max_delay": 0.01,
            "max_restarts": 5,
            "steady_after": 60,
            "grace": 30,
            **settings,
        }
        self.process = None

    def expect(self, condition, what):
        if not condition:
            with lock:
                failures.append(what)
                print(f"FAILED: {self.name}: {what}")

    def must(self, condition, what):
        self.expect(condition, what)
        if not condition:
            raise StopError

    def begin(self, text=None):
        config = self.folder / "config.json"
        config.write_text(json.dumps(self.config) if text is None else text, encoding="utf-8")
        try:
            with open(self.out, "wb") as out, open(self.folder / "err", "wb") as err:
                self.process = subprocess.Popen(
                    [SUPERVISE, str(config)],
                    cwd=self.folder,
                    env={
                        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                        "HOME": str(top),
                        "MARK": self.name,
                    },
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                )
        except OSError:
            self.must(False, f"{SUPERVISE} can be run")

    def wait(self, condition, what):
        """Wait until the condition holds; the supervisor's end is seen one last time."""
        deadline = time.monotonic() + PATIENCE
        sleep = Sleep(self.process.pid)
        while True:
            ended = self.process.poll() is not None
            if condition():
                return
            self.must(not ended and not sleep.is_endless() and time.monotonic() < deadline, what)
            time.sleep(0.01)

    def code(self):
        """The supervisor's exit code, when it has ended."""
        self.wait(lambda: self.process.returncode is not None, "the supervisor ends")
        return self.process.returncode

    def end(self, code, what="its exit code"):
        got = self.code()
        self.expect(got == code, what)
        self.expect(not os.path.lexists(self.pid_file), "the pid file is removed at the end")
        self.expect(
            not any(self.alive(run) for run in range(1, RUNS + 1)), "no process of the worker outlives the supervisor"
        )

    def alive(self, run):
        """Whether a process of this run of the worker is alive."""
        try:
            return os.read(self.pipes[run - 1], 1) != b""
        except BlockingIOError:
            return True

    def lines(self, name):
        return [line.split() for line in content(self.folder / name).splitlines()]

    def starts(self):
        return len(self.lines("starts"))

    def status(self):
        """The status file: {} before it is there."""
        if not os.path.lexists(self.status_file):
            return {}
        text = content(self.status_file)
        with contextlib.suppress(ValueError):
            status = json.loads(text)
            if isinstance(status, dict):
                return status
        self.must(False, "the status file is complete whenever it is read")
        return {}

    def final(self, **wanted):
        status = self.status()
        for key, value in {"pid": None, "delay": None, **wanted}.items():
            self.expect(key in status and status[key] == value, f"{key} in the status file at the end")

    def touch(self, name):
        (self.folder / name).write_text("")

    def gaps(self):
        """Seconds between the end of each run and the start of the next."""
        starts = [float(line[0]) for line in self.lines("starts")]
        ends = [float(line[0]) for line in self.lines("ends")]
        return [starts[run + 1] - ends[run] for run in range(min(len(starts) - 1, len(ends)))]


def worker_that_is_done():
    script = 'echo "read:$(cat):$MARK:$PWD"; echo oops >&2; setsid sleep 1000 & finish 0'
    s = Scenario("done-at-once", script)
    s.begin()
    s.end(0)
    s.expect(s.starts() == 1, "a worker that is done is not started again")
    s.expect(
        content(s.out) == f"read::{s.name}:{s.folder}\n",
        "stdin, stdout, environment and folder of the worker",
    )
    s.expect("oops" in content(s.folder / "err"), "stderr of the worker")
    s.final(state="done", restarts=0, last_exit=0)


def growing_delays():
    script = "case $run in 1|4) finish 3;; 2) finish 200;; 3) (finish 0); kill -9 $$;; *) finish 0;; esac"
    s = Scenario("growing-delays", script, first_delay=0.1, factor=2, max_delay=0.3)
    s.begin()
    s.end(0)
    s.must(s.starts() == 5, "failures by code and by signal are followed by a restart")
    gaps = s.gaps()
    for run, least in enumerate((0.1, 0.2, 0.3, 0.3)):
        s.expect(gaps[run] >= least - CLOCK_STEP, f"a delay is at least {least} s")
    s.final(state="done", restarts=4, last_exit=0)


def delays_that_begin_small():
    s = Scenario(
        "delays-begin-small", '[ "$run" -gt 2 ] || finish 1; finish 0', first_delay=0.01, factor=3, max_delay=1000
    )
    s.begin()
    s.end(0, "the first delays are not the longest")


def delays_that_stay_small():
    s = Scenario("delays-stay-small", '[ "$run" -gt 5 ] || finish 1; finish 0', factor=1000, max_delay=0.02)
    s.begin()
    s.end(0, "no delay is longer than max_delay")


def giving_up():
    s = Scenario("giving-up", 'finish "$run"', max_restarts=2)
    s.begin()
    s.end(1)
    s.expect(s.starts() == 3, "the number of runs before giving up")
    s.final(state="failed", restarts=2, last_exit=3)


def giving_up_at_once():
    s = Scenario("no-restarts", "kill -9 $$", max_restarts=0)
    s.begin()
    s.end(1)
    s.expect(s.starts() == 1, "the number of runs where none is to be repeated")
    s.final(state="failed", restarts=0, last_exit=-9)


def steady_run():
    """The short runs must be short of steady_after, which a machine that stands still for so long can spoil: then there are more."""
    script = '[ "$run" != 3 ] || sleep 1.1; finish 1'
    delays = {"first_delay": 0.1, "factor": 3, "max_delay": 0.9}
    for attempt in range(3):
        s = Scenario(f"steady-run-{attempt}", script, **delays, max_restarts=2, steady_after=1)
        s.begin()
        s.end(1)
        if s.starts() <= 5:
            break
    s.must(s.starts() == 5, "a steady run begins a new row of restarts")
    s.expect(s.gaps()[1] >= 0.3 - CLOCK_STEP, "the delay grows before the steady run")
    s.expect(s.gaps()[3] >= 0.3 - CLOCK_STEP, "the delay grows again after the steady run")
    s.final(state="failed", restarts=4, last_exit=1)


def delay_after_steady_run():
    script = '[ "$run" -gt 1 ] || finish 1; [ "$run" -gt 2 ] || { sleep 0.4; finish 1; }; finish 0'
    s = Scenario("delay-after-steady-run", script, first_delay=0.01, factor=100_000, max_delay=1000, steady_after=0.3)
    s.begin()
    s.wait(lambda: s.starts() >= 3, "the worker is started a third time")
    s.end(0)
    s.final(state="done", restarts=2, last_exit=0)


def cannot_start():
    s = Scenario("cannot-start", "", max_restarts=1, command=["/nowhere/worker"])
    s.begin()
    s.end(1)
    s.final(state="failed", restarts=1, last_exit=127)


def told_to_end():
    script = 'trap "echo term >>$dir/told; finish 7" TERM; sleep 1000 & echo ready >>$dir/ready; wait'
    s = Scenario("told-to-end", script)
    s.begin()
    s.wait(lambda: s.lines("ready"), "the worker runs")
    s.wait(lambda: s.status().get("state") == "running", "the status file says running")
    status = s.status()
    worker = int(s.lines("starts")[0][1])
    s.expect(
        status.get("pid") == worker and status.get("delay", 0) is None,
        "pid and delay in the status file of a running worker",
    )
    s.expect(
        status.get("restarts") == 0 and status.get("last_exit", 0) is None, "restarts and last_exit of the first run"
    )
    s.expect(content(s.pid_file) == f"{s.process.pid}\n", "the pid file names the supervisor")
    s.process.send_signal(signal.SIGTERM)
    s.end(0)
    s.expect(s.lines("told") == [["term"]], "the worker is told to end, once")
    s.expect(s.starts() == 1, "no restart after SIGTERM")
    s.final(state="stopped", restarts=0, last_exit=7)


def signals_of_the_worker():
    """The masks are what they are without a supervisor. No shell is in between: some begin by clearing what they were given."""
    command = ["sed", "-n", r"s/^Sig\(Blk\|Ign\):[[:space:]]*//p", "/proc/self/status"]
    s = Scenario("signals-of-the-worker", "", command=command)
    s.begin()
    s.end(0)
    usual = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE).stdout
    s.expect(
        masks(content(s.out)) == masks(usual),
        "the worker is started with no signal blocked or ignored",
    )


def masks(text):
    """The masks as numbers, without real-time signals."""
    with contextlib.suppress(ValueError):
        return [int(word, 16) & (1 << 31) - 1 for word in text.split()]
    return []


def plain_worker_is_told_to_end():
    """SIGTERM ends a worker that says nothing about it, and SIGINT to the supervisor is a SIGTERM to the worker."""
    s = Scenario("plain-worker", "", command=["sleep", "1000"])
    s.begin()
    s.wait(
        lambda: command_line(s.status().get("pid")).startswith("sleep"), "pid in the status file of a running worker"
    )
    s.process.send_signal(signal.SIGINT)
    s.end(0)
    s.final(state="stopped", restarts=0, last_exit=-15)


def command_line(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def stubborn_worker():
    script = """
    trap '' TERM INT HUP
    (setsid sh -c 'trap "" TERM INT HUP; while :; do sleep 1000; done' &)
    sh -c 'sleep 1000' &
    echo ready >>$dir/ready
    while :; do sleep 1000; done
    """
    s = Scenario("stubborn-worker", script, grace=0.5)
    s.begin()
    s.wait(lambda: s.lines("ready"), "the worker runs")
    told = time.monotonic()
    for _ in range(3):
        s.process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    s.end(4)
    s.expect(time.monotonic() - told >= 0.5, "a worker that is told to end is given its time")
    s.final(state="stopped", restarts=0, last_exit=-9)


def told_to_end_in_delay():
    s = Scenario("told-to-end-in-a-delay", "finish 9", first_delay=300, max_delay=600)
    s.begin()
    s.wait(lambda: s.status().get("state") == "waiting", "the status file says waiting")
    status = s.status()
    s.expect(
        status.get("delay") == 300 and status.get("pid", 0) is None, "delay and pid in the status file while waiting"
    )
    s.expect(status.get("last_exit") == 9, "last_exit while waiting")
    s.expect(s.pid_file.exists(), "the pid file is there while waiting")
    s.process.send_signal(signal.SIGHUP)
    s.process.send_signal(signal.SIGTERM)
    s.end(0)
    s.expect(s.starts() == 1, "no restart after SIGTERM")
    s.final(state="stopped", restarts=0, last_exit=9)


def leftovers():
    """What a run leaves behind is gone before the next begins. The second run waits until that was looked at."""
    script = """
    sleep 1000 &
    (setsid sh -c 'trap "" TERM HUP; sleep 1000 & sleep 1000' &)
    (setsid setsid sleep 1000 &)
    if [ "$run" = 2 ]; then
        until [ -e "$dir/seen" ]; do sleep 0.02; done
        finish 0
    fi
    sleep 0.1
    finish 1
    """
    s = Scenario("leftovers", script)
    s.begin()
    s.wait(lambda: s.starts() == 2 and s.alive(2), "the worker is started again")
    deadline = time.monotonic() + 2
    while s.alive(1) and time.monotonic() < deadline:
        time.sleep(0.02)
    s.expect(not s.alive(1), "what a run leaves behind is killed before the next")
    s.expect(s.alive(2), "the processes of the present run are left alone")
    s.touch("seen")
    s.end(0)


def zombies():
    script = """
    for _ in 1 2 3 4 5 6 7 8 9 10; do (sleep 0.01 &); done
    echo ready >>$dir/ready
    until [ -e "$dir/seen" ]; do sleep 0.02; done
    finish 0
    """
    s = Scenario("zombies", script)
    s.begin()
    s.wait(lambda: s.lines("ready"), "the worker runs")
    time.sleep(0.1)
    s.wait(lambda: not zombies_of(s.process.pid), "adopted processes are reaped while the worker runs")
    s.touch("seen")
    s.end(0)


def zombies_of(parent):
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
            state, above, *_ = file.read(4096).rpartition(b")")[2].split()
            if state == b"Z" and int(above) == parent:
                found.append(name)
    return found


def hang_up():
    script = 'trap "echo hup >>$dir/told; finish 0" HUP; sleep 1000 & echo ready >>$dir/ready; wait; finish 1'
    s = Scenario("hang-up", script)
    s.begin()
    s.wait(lambda: s.lines("ready"), "the worker runs")
    s.process.send_signal(signal.SIGHUP)
    s.end(0)
    s.expect(s.starts() == 1 and s.lines("told") == [["hup"]], "SIGHUP is passed on, and the supervisor goes on")


def second_supervisor():
    s = Scenario("second-supervisor", "finish 0")
    text = f"{os.getpid()}\n"
    s.pid_file.write_text(text)
    s.status_file.write_text("{}")
    s.begin()
    s.expect(s.code() == 3, "its exit code beside another")
    s.expect(content(s.pid_file) == text, "another's pid file is left alone")
    s.expect(content(s.status_file) == "{}", "another's status file is left alone")
    s.expect(s.starts() == 0, "nothing is started beside another supervisor")


def old_pid_file(name, text):
    s = Scenario(name, "finish 0")
    s.pid_file.write_text(text)
    s.begin()
    s.end(0, "its exit code where the pid file is out of date")
    s.expect(s.starts() == 1, "a pid file that is out of date is replaced")


def bad_config(name, change):
    s = Scenario(name, "finish 0")
    text = change(s.config)
    s.begin(text)
    s.end(2)
    s.expect((s.folder / "err").stat().st_size > 0, "a line on stderr")
    s.expect(s.starts() == 0 and not s.status_file.exists(), "nothing is started or written")


def without(key):
    return lambda config: json.dumps({name: value for name, value in config.items() if name != key})


SCENARIOS = [
    worker_that_is_done,
    growing_delays,
    delays_that_begin_small,
    delays_that_stay_small,
    giving_up,
    giving_up_at_once,
    steady_run,
    delay_after_steady_run,
    cannot_start,
    told_to_end,
    signals_of_the_worker,
    plain_worker_is_told_to_end,
    stubborn_worker,
    told_to_end_in_delay,
    leftovers,
    zombies,
    hang_up,
    second_supervisor,
    lambda: old_pid_file("old-pid", f"{NO_PROCESS}\n"),
    lambda: old_pid_file("odd-pid", "not a number"),
    lambda: bad_config("no-json", lambda _: "command = true"),
    lambda: bad_config("no-object", lambda _: "[]"),
    lambda: bad_config("no-command", without("command")),
    lambda: bad_config("no-grace", without("grace")),
    lambda: bad_config("empty-command", lambda config: json.dumps({**config, "command": []})),
]


def play(scenario):
    try:
        scenario()
    except StopError:
        pass
    except (OSError, ValueError, LookupError, TypeError) as error:
        with lock:
            failures.append("fault")
            print(f"FAILED: what is found cannot be read ({type(error).__name__})")


def end_children():
    """Whatever supervisors left behind was adopted by this process, and ends before the verdict is written."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            children = pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        except OSError:
            return
        if not children:
            return
        for child in children:
            with contextlib.suppress(OSError):
                os.kill(int(child), signal.SIGKILL)
                os.waitpid(int(child), 0)


def main():
    set_child_subreaper = 36
    ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)
    try:
        with concurrent.futures.ThreadPoolExecutor(len(SCENARIOS)) as pool:
            list(pool.map(play, SCENARIOS))
    finally:
        end_children()
        shutil.rmtree(top, ignore_errors=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
