"""The zygote: first process of its own pid namespace, sole parent of every sandbox and of every command in them.

Started as ``python -IS -c 'import sys; sys.path.insert(0, FOLDER); from zygote import main; main.run(SOCKET)'``. When
its socket ends, or its parent dies, it ends, and the kernel ends everything below it.
"""

import gc
import os
import signal
import socket
import sys

from . import first, own, permitted, wire
from . import syscalls as sys_
from .create import EMPTY, LIVE, MOUNTS, PLACE, WHEEL, Maker
from .groups import Hierarchy
from .loop import Loop
from .plain import PlainLoop
from .sandboxed import SandboxedLoop

MANY = 65536  # ids for root's sandboxes


def run(descriptor: int, lock: int) -> None:
    """The outer process: makes the namespaces, forks the zygote and waits for its end, so that ``lock`` is held till then."""
    sock = socket.socket(fileno=descriptor)
    os.set_inheritable(descriptor, False)
    sys_.prctl(sys_.PR_SET_PDEATHSIG, signal.SIGTERM)
    received = wire.receive(sock)
    if received is None:
        return
    config = received[0]
    groups = permitted.find(os.path.basename(config["live"]))
    try:
        base, count = isolate(config)
    except own.Unmapped as error:
        groups.close()
        tell(sock, {"event": "unmapped", "error": error.strerror})
        return
    except OSError as error:
        groups.close()
        tell(sock, {"event": "refused", "errno": error.errno, "error": str(error)})
        return
    child = os.fork()
    if child == 0:
        os.close(lock)
        sys_.prctl(sys_.PR_SET_PDEATHSIG, signal.SIGKILL)
        serve(sock, config, base, count, groups)
        os._exit(0)
    sock.close()
    signal.signal(signal.SIGTERM, lambda _number, _frame: os.kill(child, signal.SIGKILL))
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it may have ended first, and its number be another's soon
    os.waitpid(child, 0)
    groups.close()


def isolate(config: wire.Message) -> tuple[int, int]:
    """Own mounts and process numbers; with a user namespace where that needs one. The first id that sandboxes get, and how many."""
    try:
        sys_.unshare(sys_.CLONE_NEWNS | sys_.CLONE_NEWPID)
        return config["base"], MANY
    except PermissionError:
        return 0, own.enter(sys_.CLONE_NEWNS | sys_.CLONE_NEWPID, config["subordinate"])


def serve(sock: socket.socket, config: wire.Message, base: int, count: int, groups: Hierarchy) -> None:
    try:
        loop = prepare(sock, config, base, count, groups)
    except OSError as error:
        tell(sock, {"event": "refused", "errno": error.errno, "error": str(error)})
        return
    settle()
    loop.run()


def tell(sock: socket.socket, message: wire.Message) -> None:
    """Say why there will be no zygote; a harness that has gone meanwhile need not know."""
    try:
        wire.send(sock, message)
    except (BrokenPipeError, ConnectionResetError):
        pass


def settle() -> None:
    """From here on nothing is imported: the path would be looked up in a sandbox's file system."""
    sys.path.clear()
    sys.meta_path.clear()
    sys.path_hooks.clear()
    gc.collect()
    gc.freeze()
    gc.disable()


def prepare(sock: socket.socket, config: wire.Message, base: int, count: int, groups: Hierarchy) -> Loop:
    live, bwrap, tree = config["live"], config["bwrap"], config["tree"]
    sys_.mount("none", "/", "", sys_.MS_REC | sys_.MS_PRIVATE)
    sys_.mount("proc", "/proc", "proc", sys_.MS_NOSUID | sys_.MS_NODEV | sys_.MS_NOEXEC)
    # What lies under a folder that mapped ids cannot enter must be bound where they can, and before /sys is covered.
    here = os.open(live, os.O_PATH | os.O_CLOEXEC)
    there = os.open(tree, os.O_PATH | os.O_CLOEXEC) if tree else -1
    sys_.mount("tmpfs", PLACE, "tmpfs", sys_.MS_NOSUID | sys_.MS_NODEV, "mode=755,size=1m")
    for path in (LIVE, WHEEL, *(f"{PLACE}/mount/{number}" for number in range(MOUNTS))):
        os.makedirs(path, 0o755)
    for path in (EMPTY, *(f"{PLACE}/mount/file{number}" for number in range(MOUNTS))):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    if config["tmpfs"]:
        sys_.mount("tmpfs", LIVE, "tmpfs", sys_.MS_NOSUID | sys_.MS_NODEV, "mode=711")
    else:
        sys_.bind(f"/proc/self/fd/{here}", LIVE)
    if there >= 0:
        sys_.bind(f"/proc/self/fd/{there}", WHEEL)
        bwrap = f"{WHEEL}/{bwrap}"
    os.close(here)
    sys_.prctl(sys_.PR_SET_DUMPABLE, 0)
    program = first.descriptor()
    try:
        maker = Maker(bwrap, base, count, program)
    except PermissionError:
        if not base:
            raise
        maker = Maker(bwrap, 0, 1, program)  # one who is root in a user namespace alone
    folder = os.open(LIVE, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    ready = {"event": "ready", "ids": maker.count, "base": maker.base}
    limits = {"controllers": sorted(groups.controllers), "groups": groups.version, "unlimited": groups.reason}
    wire.send(sock, {**ready, **limits}, [folder])
    os.close(folder)
    return SandboxedLoop(sock, maker, groups)


def run_plain(descriptor: int, lock: int) -> None:
    """A zygote that isolates nothing: its one sandbox is the machine. It holds ``lock`` until all it started is gone."""
    os.set_inheritable(lock, False)
    os.set_inheritable(descriptor, False)
    sock = socket.socket(fileno=descriptor)
    wire.receive(sock)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    loop = PlainLoop(sock)
    wire.send(sock, {"event": "ready"})
    settle()
    loop.run()
