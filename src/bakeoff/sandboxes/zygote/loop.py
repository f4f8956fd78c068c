"""A zygote's one loop: requests of the harness, ends of children, and processes that were told to end."""

import os
import resource
import select
import signal
import socket
import time

from . import tree, wire

assert resource.struct_rusage  # os.wait3 imports this module, and nothing can be imported later
_TICKS = os.sysconf("SC_CLK_TCK")
_LOOK_EVERY = 1  # milliseconds, while something was killed and is not yet gone
_GIVE_UP_AFTER = 10.0  # seconds
_STRIKE_EVERY = 0.1  # seconds
_REAPED_WITHIN = 0.05  # seconds, by a tracer that means well
_DESCRIBED_WITHIN = (
    0.25  # seconds: thousands of processes may each hold many descriptors, and all sandboxes wait meanwhile
)
_OUTRUN_AFTER = 0.5  # seconds after which a tree that grows as fast as it is killed is ended as a whole


class Box:
    """One sandbox: its first process (0 before there is one), and the commands started in it that have not ended."""

    def __init__(self, number: int, pid: int = 0) -> None:
        self.number = number
        self.pid = pid
        self.commands: dict[int, tuple[wire.Message, int]] = {}  # by pid: the request, clock ticks at its start
        self.destroy = 0  # the request that waits for its end


class Ending:
    """Processes that were told to end, and the request that waits until they have."""

    def __init__(self, box: Box, reply: wire.Message) -> None:
        self.box = box
        self.reply = reply
        self.keep: frozenset[str] | None = None  # for all of a sandbox's processes but these
        self.command = 0  # or for those of the command with this pid, started at
        self.since = 0
        self.began = time.monotonic()
        self.struck = -1.0
        self.caught = False  # everything has had its signal: what still lives is known, and nothing new can come of it


class Loop:
    """What is the same whether commands are isolated or not; subclasses say how a sandbox is made, entered and ended."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.boxes: dict[int, Box] = {}
        self.by_command: dict[int, Box] = {}
        self.endings: list[Ending] = []
        self.poll = select.poll()
        self.wake, wake_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(wake_in, warn_on_full_buffer=False)
        self.poll.register(sock, select.POLLIN)
        self.poll.register(self.wake, select.POLLIN)
        self.operations = {
            "create": self.create,
            "exec": self.exec,
            "kill": self.kill,
            "end": self.end,
            "destroy": self.destroy,
            "listen": self.listen,
            "cover": self.cover,
            "uncover": self.uncover,
            "used": self.used,
            "measure": self.measure,
        }

    def run(self) -> None:
        """Until the harness is gone."""
        try:
            while self.turn(_LOOK_EVERY if self.endings else None):
                pass
        except (BrokenPipeError, ConnectionResetError):
            pass

    def turn(self, timeout: int | None) -> bool:
        """Wait for something to happen and deal with it; False when the harness is gone."""
        for fd, _event in self.poll.poll(timeout):
            if fd == self.wake:
                os.read(fd, 4096)
            elif fd == self.sock.fileno():
                received = wire.receive(self.sock)
                if received is None:
                    return False
                self.request(*received)
            else:
                self.readable(fd)
        self.reap()
        self.endings = [ending for ending in self.endings if not self.ended(ending)]
        return True

    def request(self, message: wire.Message, fds: list[int]) -> None:
        try:
            self.operations[message["op"]](message, fds)
        except (BrokenPipeError, ConnectionResetError):
            raise
        except (OSError, KeyError) as error:
            wire.send(self.sock, {"id": message["id"], "error": f"{type(error).__name__}: {error}"})
        finally:
            for fd in fds:
                os.close(fd)

    # What subclasses say

    def create(self, message: wire.Message, _fds: list[int]) -> None:
        raise OSError("not here")

    def destroy(self, message: wire.Message, _fds: list[int]) -> None:
        raise OSError("not here")

    def listen(self, message: wire.Message, _fds: list[int]) -> None:
        raise OSError("not here")

    def cover(self, message: wire.Message, _fds: list[int]) -> None:
        raise OSError("not here")

    def uncover(self, message: wire.Message, _fds: list[int]) -> None:
        raise OSError("not here")

    def used(self, message: wire.Message, _fds: list[int]) -> None:
        """What ran in a sandbox has used, as far as that is known here."""
        wire.send(self.sock, {"id": message["id"], "cpu_seconds": None, "memory_peak_bytes": None, "exceeded": []})

    def measure(self, message: wire.Message, _fds: list[int]) -> None:
        raise OSError("not here")

    def readable(self, fd: int) -> None:
        """A descriptor that the subclass has registered."""

    def fork_inside(self, box: Box, apart: bool) -> int:
        """Fork a child that has a number in the sandbox's pid namespace; in every other way it is still outside."""
        return os.fork()

    def become(self, box: Box, message: wire.Message, fds: list[int]) -> None:
        """In that child: execute the command."""

    def first_of(self, box: Box) -> list[int]:
        """The processes below which everything else in the sandbox hangs, but for its commands."""
        return tree.children(box.pid)

    def signal_all(self, box: Box, number: int) -> bool:
        """Signal everything in the sandbox but its first process at once; whether that could be done."""
        return False

    def limit_of(self, box: Box, command: wire.Message, code: int) -> str:
        """The limit that ended a command, as far as that is known; empty for none."""
        return ""

    def finish(self, box: Box) -> None:
        """A command has ended: it may have been the last thing that a request waits for."""

    # Commands

    def exec(self, message: wire.Message, fds: list[int]) -> None:
        box = self.boxes[message["box"]]
        ticks = int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS)
        pid = self.fork_inside(box, message["apart"])
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                self.become(box, message, fds)
            except BaseException as error:  # noqa: BLE001 - a forked child must not return into the zygote's loop
                self.tell(box, "broken", message["id"], error=str(error))
            finally:
                os._exit(125)
        box.commands[pid] = (message, ticks)
        self.by_command[pid] = box
        wire.send(self.sock, {"id": message["id"]})

    def tell(self, box: Box, event: str, command: int, fds: list[int] | None = None, **more: object) -> None:
        wire.send(self.sock, {**more, "event": event, "box": box.number, "command": command}, fds)

    def reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait3(os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            box = self.by_command.pop(pid, None)
            if box is None:
                self.other_child(pid, status)
                continue
            command, _ticks = box.commands.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            cpu, rss = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
            limit = self.limit_of(box, command, code)
            self.tell(box, "exit", command["id"], code=code, limit=limit, cpu=cpu, rss=rss)
            self.finish(box)

    def other_child(self, pid: int, status: int) -> None:
        """A child that is no command has ended; ``status`` as os.wait tells it."""

    # Ends of processes

    def end(self, message: wire.Message, _fds: list[int]) -> None:
        box = self.boxes[message["box"]]
        ending = Ending(box, {"id": message["id"], "ended": []})
        ending.keep = keep = frozenset[str](message["keep"])
        if "*" in keep or not (listed := self.listed(box)):
            wire.send(self.sock, ending.reply)
            return
        ending.reply["ended"] = self.describe(box, [pid for pid in listed if tree.alive(pid)], keep)
        if not self.ended(ending):
            self.endings.append(ending)

    def kill(self, message: wire.Message, _fds: list[int]) -> None:
        box = self.boxes[message["box"]]
        ending = Ending(box, {"id": message["id"]})
        for pid, (command, ticks) in box.commands.items():
            if command["id"] == message["command"]:
                ending.command, ending.since = pid, ticks
        if not ending.command:
            wire.send(self.sock, ending.reply)
        elif not self.ended(ending):
            self.endings.append(ending)

    def listed(self, box: Box) -> list[int]:
        """All that hangs below the sandbox's first process, the dead included: where nothing does, nothing lives.

        What forks and exits all the time is dead whenever it is looked at, and yet there: only the list shows it.
        """
        return tree.descendants([*self.first_of(box), *box.commands]) if box.pid else []

    def describe(self, box: Box, pids: list[int], keep: frozenset[str]) -> list[tuple[int, str, bool]]:
        sockets = tree.listening(box.pid) if pids else frozenset[str]()
        found: list[tuple[int, str, bool]] = []
        deadline = time.monotonic() + _DESCRIBED_WITHIN
        for pid in pids:
            names = tree.names(pid)
            if keep.isdisjoint(names):
                found.append((tree.inner_pid(pid), names[0], bool(sockets) and tree.holds(pid, sockets, deadline)))
        return found

    def targets(self, ending: Ending) -> list[int]:
        """The living among those that are to end."""
        box = ending.box
        if ending.keep is not None:
            pids = [pid for pid in self.listed(box) if not ending.keep or ending.keep.isdisjoint(tree.names(pid))]
        else:
            # What a command started and left behind hangs below the first process, and cannot be older than the command.
            orphans = [
                pid for pid in self.first_of(box) if pid not in box.commands and tree.started(pid) >= ending.since
            ]
            pids = tree.descendants([*orphans, *([ending.command] if ending.command in box.commands else [])])
        return [pid for pid in pids if tree.alive(pid)]

    def holding(self, ending: Ending) -> list[int]:
        """Those inside that trace a command which is dead: as long as they do not let go, its end is told to them alone."""
        commands = [ending.command] if ending.keep is None else list(ending.box.commands)
        dead = [pid for pid in commands if pid in ending.box.commands and not tree.alive(pid)]
        tracers = {tracer for pid in dead for tracer in tree.tracers(pid)}
        return sorted(tracers.intersection(self.listed(ending.box))) if tracers else []

    def ended(self, ending: Ending) -> bool:
        """Kill what is left of it; answer when nothing is, or when it cannot be ended.

        All processes of a sandbox get one signal at once, since whoever kills them one by one can be outrun: SIGKILL where
        none is kept, else SIGSTOP, so that the list holds still while those that are not kept are killed.
        """
        waited = time.monotonic() - ending.began
        if ending.keep is not None and not ending.caught:
            ending.caught = self.signal_all(ending.box, signal.SIGSTOP if ending.keep else signal.SIGKILL)
        targets = self.targets(ending)
        holding = [] if targets else self.holding(ending)
        if not targets and not holding and (ending.keep is None or ending.caught):
            self.release(ending)
            wire.send(self.sock, ending.reply)
            return True
        if waited > _GIVE_UP_AFTER:
            self.release(ending)
            wire.send(self.sock, {"id": ending.reply["id"], "error": f"{len(targets)} processes cannot be ended"})
            return True
        if ending.keep is None and waited > _OUTRUN_AFTER:
            if ending.struck < 0 or waited - ending.struck > _STRIKE_EVERY:
                ending.struck = waited
                self.signal_all(ending.box, signal.SIGKILL)
            return False
        for pid in targets or (holding if waited > _REAPED_WITHIN else ()):
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        return False

    def release(self, ending: Ending) -> None:
        """Let those that are kept go on."""
        if ending.keep and ending.caught:
            self.signal_all(ending.box, signal.SIGCONT)
