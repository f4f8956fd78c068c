"""From a request to a running bubblewrap: the namespaces' owner, the sources of mounts, and the first process."""

import os
import resource
import signal

from . import enter, seccomp, wire
from . import shifted as copies
from . import syscalls as sys_
from .targets import refuse_links

PLACE = "/sys"  # in the zygote's own mount namespace a tmpfs lies over it; nothing in a sandbox comes from there
LIVE = f"{PLACE}/live"
WHEEL = f"{PLACE}/wheel"
EMPTY = f"{PLACE}/empty"
MOUNTS = 16
_INOTIFY = 32  # the machine has 128 for all sandboxes of a user together, as it counts them
SHORT = f"{PLACE}/l"
_LONG = 8  # layers of sandboxes with their long paths; of more, the paths are shortened
COPIED = 64 << 20  # bytes of a root that is copied where its file system maps no owners: the host root has some 2 MiB
# Counted for the user outside as well: without less for the sandboxes, one of them could leave nothing to the user's own programs.
_COUNTED_OUTSIDE = (resource.RLIMIT_SIGPENDING, resource.RLIMIT_MSGQUEUE)
OWN = ["/proc", "/dev", "/tmp"]  # where every sandbox has mounts of its own


def _allow(what: str, most: int) -> None:
    """Bound what the present user namespace can hold of something."""
    try:
        with open(f"/proc/sys/user/max_{what}", "w") as limit:
            limit.write(str(most))
    except FileNotFoundError:
        if not most:
            raise  # a protection; anything else is a kernel's that does not have it


class Maker:
    """Knows what is the same for every sandbox. ``base`` and ``count`` are the outer ids.

    ``base`` is 0 where they are those of the zygote's own user namespace: one, or many with subordinate ids. Owners are right then as
    they are.
    """

    def __init__(self, bwrap: str, base: int, count: int, first: int) -> None:
        self.bwrap = bwrap
        self.base = base
        self.count = count
        self.first = first
        self.userns = (
            self._owner_shift()
        )  # with one id it shifts nothing, but whether namespaces can be made shows here
        self._layers: dict[str, str] = {}

    def _maps(self, pid: int) -> None:
        lines = f"0 {self.base} {self.count}"
        if (
            not self.base and self.count > 1
        ):  # as the zygote's own namespace has them: no line may span two of its lines
            lines = f"0 0 1\n1 1 {self.count - 1}"
        for name in ("uid_map", "gid_map"):
            fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, lines.encode())
            finally:
                os.close(fd)

    def _owner_shift(self) -> int:
        """A user namespace with the sandboxes' mapping, held open: it shifts the owners of layers and mounts."""
        told, tell = os.pipe()
        wait, go = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(go)
                sys_.prctl(sys_.PR_SET_DUMPABLE, 1)
                sys_.unshare(sys_.CLONE_NEWUSER)
                os.write(tell, b"1")
                os.read(wait, 1)
            finally:
                os._exit(0)
        try:
            os.close(tell)
            os.close(wait)
            if not os.read(told, 1):
                raise PermissionError(1, "user namespaces are not permitted")
            self._maps(pid)
            return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(told)
            os.close(go)
            os.waitpid(pid, 0)

    def layer(self, path: str, shifted: bool) -> str:
        """Where mapped ids can reach ``path``, a layer of a root; mounted once for all sandboxes."""
        if path.startswith(LIVE + "/"):
            return path
        if path not in self._layers:
            target = f"{PLACE}/layer/{len(self._layers)}"
            os.makedirs(target, 0o755, exist_ok=True)
            if not shifted or not self.base:
                sys_.bind(path, target)
            elif not self._bind_mapped(path, target):
                self._copy(path, target)
            self._layers[path] = target
        return self._layers[path]

    def _bind_mapped(self, source: str, target: str) -> bool:
        """Mount ``source`` with its owners shifted; False where the kernel or the file system cannot."""
        try:
            sys_.bind_mapped(source, target, self.userns)
            return True
        except OSError:
            return False

    def _copy(self, source: str, target: str) -> None:
        """What cannot be mounted with its owners, but is small, is copied with them."""
        sys_.mount("tmpfs", target, "tmpfs", sys_.MS_NODEV, "mode=755")
        try:
            copies.copy(source, target, self.base, self.count, COPIED)
        except OSError as error:
            sys_.unmount(target)
            if not isinstance(error, copies.TooLarge):
                raise
            raise OSError(
                f"the file system of {source} cannot show the owners of its files inside: keep the folder, or for an archive "
                "BAKEOFF_HOME, on ext4, xfs, btrfs or tmpfs; in a container, on a volume"
            ) from error

    def start(self, message: wire.Message, guard: enter.Guard) -> tuple[int, int, int, int]:
        """Fork and execute bubblewrap. Returns its pid and the descriptors to read: ready, info, errors."""
        folder, options = message["folder"], message["options"]
        paths = [self.layer(path, shifted) for path, shifted in message["layers"]]
        refuse_links(paths, [*OWN, *(target for _source, target in message["mounts"])])
        upper, work = f"{LIVE}/{folder}/u", f"{LIVE}/{folder}/w"
        os.makedirs(f"{LIVE}/{folder}", 0o711, exist_ok=True)
        for path in (upper, work):
            os.mkdir(path, 0o755)
            if self.count > 1:
                os.chown(path, self.base, self.base)
        argv = [self.bwrap]
        sources: list[tuple[str, str, bool]] = []
        for place in paths:
            if place.startswith(LIVE + "/") and len(paths) > _LONG:
                # The kernel takes 4,096 bytes of options for a mount, and all layers are in them.
                short = f"{SHORT}/{len(sources)}"
                os.makedirs(short, 0o755, exist_ok=True)
                sources.append((place, short, False))
                argv += ["--overlay-src", short]
            else:
                argv += ["--overlay-src", place]
        argv += ["--overlay", upper, work, "/"]
        for number, (source, target) in enumerate(message["mounts"]):
            place = f"{PLACE}/mount/{number}" if os.path.isdir(source) else f"{PLACE}/mount/file{number}"
            sources.append((source, place, True))
            # Left to itself bubblewrap makes the folders that lead there for root alone.
            way = ["--perms", "0755", "--dir", os.path.dirname(target)] if os.path.dirname(target) != "/" else []
            options = [*options, *way, "--ro-bind", place, target]
        filter_ = seccomp.descriptor(guard.program)
        ready, ready_in = os.pipe()
        info, info_in = os.pipe()
        errors, errors_in = os.pipe()
        told, tell = os.pipe()
        wait, go = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(go)
                argv += [*options, "--seccomp", str(filter_)]
                os.set_inheritable(filter_, True)
                self._become_bubblewrap(argv, sources, (ready_in, errors_in, info_in), tell, wait, guard)
            except BaseException as error:  # noqa: BLE001 - a forked child must not return into the zygote's loop
                os.write(errors_in, str(error).encode())
            finally:
                os._exit(1)
        for fd in (ready_in, info_in, errors_in, tell, wait, filter_):
            os.close(fd)
        try:
            if os.read(told, 1):  # the namespace is there
                self._maps(pid)
                os.write(go, b"1")
        finally:
            os.close(told)
            os.close(go)
        return pid, ready, info, errors

    def _become_bubblewrap(
        self,
        argv: list[str],
        sources: list[tuple[str, str, bool]],
        ends: tuple[int, int, int],
        tell: int,
        wait: int,
        guard: enter.Guard,
    ) -> None:
        sys_.prctl(sys_.PR_SET_DUMPABLE, 1)  # or /proc/self/uid_map could not be written
        if sources:
            sys_.unshare(sys_.CLONE_NEWNS)
            for source, target, shifted in sources:
                if not shifted or not self.base or not self._bind_mapped(source, target):
                    sys_.bind(source, target)  # owners show as nobody where they cannot be had: it is only read
        for which in _COUNTED_OUTSIDE:  # a user namespace keeps the limits of who makes it, for all in it together
            soft, hard = resource.getrlimit(which)
            if soft != resource.RLIM_INFINITY:
                resource.setrlimit(which, (soft // 2, hard))
        sys_.unshare(sys_.CLONE_NEWUSER)
        os.write(tell, b"1")
        if not os.read(wait, 1):
            os._exit(1)
        if not guard.user_namespaces:
            _allow("user_namespaces", 0)
        _allow("inotify_instances", _INOTIFY)
        if self.count > 1:
            os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        sys_.prctl(sys_.PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of ids clears it
        ready, errors, info = ends
        os.dup2(ready, 1)
        os.dup2(errors, 2)
        os.set_inheritable(info, True)
        os.set_inheritable(self.first, True)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.execve(self.bwrap, [*argv, "--info-fd", str(info), f"/proc/self/fd/{self.first}"], {})
