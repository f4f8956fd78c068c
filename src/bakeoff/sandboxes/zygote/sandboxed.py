"""The loop of a zygote whose sandboxes are bubblewrap's."""

import os
import select
import signal
import socket

from . import cover, enter, rlimits, tree, usage, wire, world
from . import syscalls as sys_
from .create import LIVE, Maker
from .groups import Group, Hierarchy
from .loop import Box, Loop
from .world import Making, World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_CHILD_WITHIN = 0.2  # seconds
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)  # the latter is how a shell tells of it


class Sandboxed(Box):
    """``pidfd`` is that of the first process inside, ``bwrap`` the pid of its parent outside (0 when it has ended).

    ``world`` is the agent's own, made when something is first started there.
    """

    def __init__(self, message: wire.Message, bwrap: int, guard: enter.Guard) -> None:
        super().__init__(message["id"])
        self.bwrap = bwrap
        self.pidfd = -1
        self.namespaces = enter.NAMESPACES | (sys_.CLONE_NEWNET if message["own_network"] else 0)
        self.folder = f"{LIVE}/{message['folder']}"
        self.guard = guard
        self.limits: dict[str, float] = message["limits"]
        self.groups: dict[bool, Group] = {}  # what judges has one of its own
        self.world: World | None = None
        self.covers: list[int] = []
        self.covered = 0

    def leave(self) -> None:
        """Close what is held of it."""
        for group in self.groups.values():
            group.remove()
        self.groups = {}
        for mount in self.covers:
            os.close(mount)
        self.covers = []
        if self.world is not None:
            os.close(self.world.pidfd)
            self.world = None
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


class SandboxedLoop(Loop):
    def __init__(self, sock: socket.socket, maker: Maker, hierarchy: Hierarchy) -> None:
        super().__init__(sock)
        self.maker = maker
        self.hierarchy = hierarchy
        self.worlds = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.poll.register(self.worlds[0], select.POLLIN)
        self.making: dict[int, Making] = {}  # by the descriptor that tells readiness
        self.own_mounts = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self.own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self.by_bwrap: dict[int, Sandboxed] = {}
        self.guards: dict[frozenset[str], enter.Guard] = {}
        self.listening: dict[int, int] = {}  # requests, by the pid of the child that answers
        self.opening: dict[int, tuple[Sandboxed, int, int]] = {}  # by the descriptor that tells readiness

    def create(self, message: wire.Message, _fds: list[int]) -> None:
        guard = self._guard(frozenset(message["without"]))
        bwrap, *ends = self.maker.start(message, guard)
        ready, info, errors = ends
        box = Sandboxed(message, bwrap, guard)
        self.boxes[box.number] = self.by_bwrap[bwrap] = box
        self.opening[ready] = (box, info, errors)
        self.poll.register(ready, select.POLLIN)

    def _guard(self, without: frozenset[str]) -> enter.Guard:
        if without not in self.guards:
            self.guards[without] = enter.Guard(self.maker.count > 1, without)
        return self.guards[without]

    def readable(self, fd: int) -> None:
        if fd == self.worlds[0].fileno():
            self._world_sent()
        elif fd in self.making:
            self._world_told(fd)
        else:
            self._box_ready(fd)

    def _box_ready(self, fd: int) -> None:
        """A sandbox is ready, or will never be."""
        box, info, errors = self.opening.pop(fd)
        self.poll.unregister(fd)
        fds: list[int] = []
        try:
            if box.destroy:
                raise OSError("it was asked to end before it was ready")
            if not os.read(fd, 1):
                raise OSError(os.read(errors, 4096).decode("utf-8", "replace").strip() or "bubblewrap ended")
            text = os.read(info, 4096).decode()
            pid = int(text.split('"child-pid":', 1)[1].split(",")[0].split("\n")[0].strip(" }"))
            box.pidfd = os.pidfd_open(pid)
            box.pid = pid
            fds.append(os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            fds.append(os.open(f"{box.folder}/u", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            wire.send(self.sock, {"id": box.number}, fds)
        except (BrokenPipeError, ConnectionResetError):
            raise
        except (OSError, ValueError, IndexError) as error:
            if box.bwrap:
                os.kill(box.bwrap, signal.SIGKILL)
            wire.send(self.sock, {"id": box.number, "error": str(error)})
        finally:
            for opened in (fd, info, errors, *fds):
                os.close(opened)

    def destroy(self, message: wire.Message, _fds: list[int]) -> None:
        box = self.boxes[message["box"]]
        assert isinstance(box, Sandboxed)
        box.destroy = message["id"]
        if box.pidfd >= 0:
            try:
                signal.pidfd_send_signal(box.pidfd, signal.SIGKILL)
            except ProcessLookupError:
                pass
        elif box.bwrap:
            os.kill(box.bwrap, signal.SIGKILL)
        self.finish(box)

    def other_child(self, pid: int, status: int) -> None:
        if box := self.by_bwrap.pop(pid, None):
            box.bwrap = box.pid = 0
            self.finish(box)
        if (asked := self.listening.pop(pid, 0)) and status:
            wire.send(self.sock, {"id": asked, "error": "the sandbox has ended"})
        for ready, making in list(self.making.items()):
            if making.maker == pid:
                while select.select([self.worlds[0]], [], [], 0)[0]:
                    self._world_sent()
                making.maker = 0
                if ready in self.making:
                    self._world_made(ready)

    def finish(self, box: Box) -> None:
        """Answer to the request for its end as soon as nothing of the sandbox is left."""
        assert isinstance(box, Sandboxed)
        if box.bwrap or box.commands:
            return
        box.leave()
        if box.destroy:
            wire.send(self.sock, {"id": box.destroy})
            self.boxes.pop(box.number, None)
        else:
            wire.send(self.sock, {"event": "died", "box": box.number})

    def fork_inside(self, box: Box, apart: bool) -> int:
        """Fork a child with a number in the sandbox's outer process namespace, or in the agent's own."""
        assert isinstance(box, Sandboxed)
        place = self._place(box, apart)
        if not self.hierarchy.version:
            return self._fork(place, os.fork)
        if apart not in box.groups:
            limits = int(box.limits["memory"]), int(box.limits["processes"]), box.limits["cpus"]
            box.groups[apart] = self.hierarchy.make(f"{box.number}.{int(apart)}", *limits)
        return self._fork(place, box.groups[apart].fork)

    def _place(self, box: Sandboxed, apart: bool) -> int:
        """The process whose namespaces are meant."""
        if box.pidfd < 0:
            raise OSError("the sandbox has ended")
        return box.pidfd if apart or box.world is None else box.world.pidfd

    def _fork(self, pidfd: int, fork: "Callable[[], int]") -> int:
        cover.go_to(pidfd, sys_.CLONE_NEWPID)
        pid = -1
        try:
            pid = fork()
            return pid
        finally:
            if pid:
                sys_.setns(self.own, sys_.CLONE_NEWPID)

    def exec(self, message: wire.Message, fds: list[int]) -> None:
        box = self.boxes[message["box"]]
        assert isinstance(box, Sandboxed)
        if message["apart"] or box.world is not None or not box.guard.world:
            super().exec(message, fds)
            return
        making = next((making for making in self.making.values() if making.number == box.number), None)
        if making is None:
            making = self._make_world(box)
        making.waiting.append((message, [os.dup(fd) for fd in fds]))

    def _make_world(self, box: Sandboxed) -> Making:
        if box.pidfd < 0:
            raise OSError("the sandbox has ended")
        ready, ready_in = os.pipe()
        try:
            maker = self._fork(box.pidfd, os.fork)
            if maker == 0:
                try:
                    enter.enter(box.pidfd, box.namespaces, box.guard)
                    world.build(box.number, self.maker.first, ready_in, self.worlds[1], box.guard)
                except BaseException as error:  # noqa: BLE001 - a forked child must not return into the zygote's loop
                    os.write(ready_in, str(error).encode())
                finally:
                    os._exit(0)
        finally:
            os.close(ready_in)
        making = self.making[ready] = Making(box.number, maker)
        self.poll.register(ready, select.POLLIN)
        return making

    def _world_told(self, ready: int) -> None:
        """The first process of a world is there, or will never be."""
        self.poll.unregister(ready)
        self.making[ready].heard(ready)
        self._world_made(ready)

    def _world_sent(self) -> None:
        """A child says which process is the first of the world it made."""
        received = wire.receive(self.worlds[0])
        assert received is not None
        for ready, making in list(self.making.items()):
            if making.number == received[0]["box"]:
                (making.pidfd,) = received[1]
                self._world_made(ready)
                return
        for fd in received[1]:
            os.close(fd)

    def _world_made(self, ready: int) -> None:
        """Do what has waited for it, if all is known of it."""
        if not self.making[ready].complete:
            return
        making = self.making.pop(ready)
        os.close(ready)
        box = self.boxes.get(making.number)
        try:
            made = making.world()
            if not isinstance(box, Sandboxed):
                os.close(made.pidfd)
                raise OSError("the sandbox has ended")
        except OSError as error:
            self._refuse(making, str(error))
            return
        box.world = made
        waiting, making.waiting = making.waiting, []
        for message, fds in waiting:
            self.request(message, fds)

    def _refuse(self, making: Making, why: str) -> None:
        """Start nothing of what waits for a world."""
        for message, fds in making.waiting:
            wire.send(self.sock, {"id": message["id"], "error": why})
            for fd in fds:
                os.close(fd)
        making.waiting = []

    def end(self, message: wire.Message, fds: list[int]) -> None:
        for making in self.making.values():
            if making.number == message["box"]:
                self._refuse(making, "it was ended before it started")
        super().end(message, fds)

    def become(self, box: Box, message: wire.Message, fds: list[int]) -> None:
        assert isinstance(box, Sandboxed)
        uid, apart = message["uid"], message["apart"]
        if group := box.groups.get(apart):
            group.join()
        # Without groups, processes are counted for the whole sandbox, and what is left there must not keep a judge from starting any.
        limits = box.limits if group or not apart else {**box.limits, "processes": 4 * box.limits["processes"]}
        rlimits.apply(limits, self.hierarchy.controllers, box.number)
        enter.enter(self._place(box, apart), box.namespaces, box.guard)
        os.setsid()
        enter.become(uid, message["gid"], message["groups"], box.guard.kept if uid == 0 else 0, box.guard)
        if size := message.get("pty"):
            master, slave = enter.open_terminal(size[0], size[1])
            self.tell(box, "terminal", message["id"], [master])
            enter.take_terminal(slave)
            fds = [slave, slave, slave]
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
        enter.run(message["argv"], message["env"], message["cwd"])

    def signal_all(self, box: Box, number: int) -> bool:
        """One signal to all that the sandbox's namespaces hold: no fork can slip through between.

        The agent's world ends with its first process; the rest is signalled by a child that nothing in that world can see.
        """
        assert isinstance(box, Sandboxed)
        first = 0
        if number == signal.SIGKILL and box.world is not None:
            if not box.world.end():
                return False
            os.close(box.world.pidfd)
            first, box.world = box.world.pid, None  # it may be seen for a moment after it is told to be dead
        if not any(pid != first for pid in self.listed(box)):
            return True
        try:
            pid = self._fork(box.pidfd, os.fork)
        except OSError:
            return False  # they may hold every process that may be: some are to end one by one first
        if pid == 0:
            code = 1
            try:
                os.kill(-1, number)
                code = 0
            except ProcessLookupError:
                code = 0  # nobody is there
            finally:
                os._exit(code)
        child = os.pidfd_open(pid)
        try:
            if not select.select([child], [], [], _CHILD_WITHIN)[0]:
                os.kill(pid, signal.SIGKILL)
            return os.waitpid(pid, 0)[1] == 0
        finally:
            os.close(child)

    def cover(self, message: wire.Message, _fds: list[int]) -> None:
        """Lay a new empty folder over each path; the answer has those paths where no plain folder is."""
        box = self.boxes[message["box"]]
        assert isinstance(box, Sandboxed)
        wanted: list[tuple[int, str]] = []
        laid: list[int] = []
        try:
            for path in message["paths"]:
                box.covered += 1
                wanted.append((cover.prepare(box.folder, box.covered, self.maker.base), path))
            laid = cover.lay(box.pidfd, self.own_mounts, wanted)
        finally:
            box.covers += laid
            for tree, _ in wanted:
                if tree not in laid:
                    os.close(tree)
        wire.send(self.sock, {"id": message["id"], "left": [path for tree, path in wanted if tree not in laid]})

    def uncover(self, message: wire.Message, _fds: list[int]) -> None:
        box = self.boxes[message["box"]]
        assert isinstance(box, Sandboxed)
        cover.lift(box.pidfd, self.own_mounts, box.covers)
        for mount in box.covers:
            os.close(mount)
        box.covers = []
        wire.send(self.sock, {"id": message["id"]})

    def limit_of(self, box: Box, command: wire.Message, code: int) -> str:
        assert isinstance(box, Sandboxed)
        if code == -signal.SIGXFSZ:
            return "storage"
        group = box.groups.get(command["apart"]) if code else None
        exceeded = group.exceeded() if group else []
        if code not in _KILLED:
            exceeded = [name for name in exceeded if not name.endswith("memory")]
        return exceeded[0] if exceeded else ""

    def used(self, message: wire.Message, _fds: list[int]) -> None:
        box = self.boxes[message["box"]]
        assert isinstance(box, Sandboxed)
        group = box.groups.get(False)
        used = group.used() if group else {"cpu_seconds": None, "memory_peak_bytes": None}
        wire.send(self.sock, {**used, "id": message["id"], "exceeded": group.exceeded() if group else []})

    def first_of(self, box: Box) -> list[int]:
        assert isinstance(box, Sandboxed)
        if not box.pid:
            return []
        outer = tree.children(box.pid)
        if box.world is None:
            return outer
        return [*tree.children(box.world.pid), *(pid for pid in outer if pid != box.world.pid)]

    def listen(self, message: wire.Message, _fds: list[int]) -> None:
        box = self.boxes[message["box"]]
        assert isinstance(box, Sandboxed)
        pid = self._fork(self._place(box, True), os.fork)
        if pid == 0:
            code = 1
            try:
                enter.enter(box.pidfd, box.namespaces, box.guard)
                enter.listen(self.sock, message)
                code = 0
            finally:
                os._exit(code)
        self.listening[pid] = message["id"]

    def measure(self, message: wire.Message, _fds: list[int]) -> None:
        """How much of the disk a sandbox holds; ``box`` is 0 for one in which nothing runs."""
        box = self.boxes.get(message["box"])
        if os.fork() == 0:
            try:
                signal.set_wakeup_fd(-1)
                usage.answer(self.sock, message, f"{LIVE}/{message['folder']}", self.listed(box) if box else [])
            finally:
                os._exit(0)
