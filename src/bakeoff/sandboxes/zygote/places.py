"""Where on this machine control groups can be made: what is mounted, which group this process is in, what may be written.

A group is made below the process's own (version 1), or below the nearest group above that which can offer the controllers
(version 2, where a group with processes of its own offers none): so most limits that hold for the harness hold on.
"""

import os

KINDS = ("cgroup", "cgroup2")
WANTED = ("memory", "pids", "cpu")
_ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


class Mount:
    """A mounted hierarchy: its group ``root`` is seen at ``point``; ``options`` name the controllers of version 1."""

    def __init__(self, root: str, point: str, kind: str, options: frozenset[str]) -> None:
        self.root = root
        self.point = point
        self.kind = kind
        self.options = options

    def path(self, group: str) -> str | None:
        """The folder of ``group``, None where it is not below what is mounted."""
        root = self.root.rstrip("/")
        if not group.startswith("/") or ".." in group.split("/"):
            return None  # outside of this process's cgroup namespace
        if group != root and not group.startswith(root + "/"):
            return None
        return self.point.rstrip("/") + group[len(root) :].rstrip("/") or "/"


def mounts(mountinfo: str) -> list[Mount]:
    """The control group hierarchies in the text of ``/proc/PID/mountinfo``; lines that are none or make no sense are left out."""
    found: list[Mount] = []
    for line in mountinfo.split("\n"):
        fields, separator, rest = line.partition(" - ")
        before, after = fields.split(" "), rest.split(" ")
        if separator and len(before) > 5 and len(after) > 2 and after[0] in KINDS:
            found.append(Mount(_plain(before[3]), _plain(before[4]), after[0], frozenset(after[2].split(","))))
    return found


def _plain(field: str) -> str:
    for code, character in _ESCAPES:
        field = field.replace(code, character)  # the backslash is the last: what it stands before is no code
    return field


def own_groups(text: str) -> dict[str, str]:
    """The group for each controller in the text of ``/proc/PID/cgroup``; that of version 2 is under the empty name."""
    found: dict[str, str] = {}
    for line in text.split("\n"):
        fields = line.split(":", 2)
        if len(fields) == 3 and fields[2].startswith("/"):
            for name in fields[1].split(","):
                found[name] = fields[2]
    return found


def own_folder(all_mounts: list[Mount], groups: dict[str, str], controller: str) -> tuple[str, str]:
    """The folder of the own group for a controller of version 1, or for version 2 (the empty name), and its mount's top.

    Both are empty where there is none; the last mount is the one on top.
    """
    for mount in reversed(all_mounts):
        if mount.kind == "cgroup2" if not controller else mount.kind == "cgroup" and controller in mount.options:
            path = mount.path(groups.get(controller, ""))
            if path:
                return path, mount.point
    return "", ""


class Level:
    """A group of version 2 at or above the own one, as far as that decides whether groups can be made in it.

    ``offers`` can be limited in its groups now, and ``could`` if it is told to; ``top`` is where the mount begins, ``real``
    the machine's first group, which alone may both hold processes and offer controllers.
    """

    def __init__(
        self,
        path: str,
        offers: frozenset[str],
        could: frozenset[str],
        *,
        writable: bool,
        tellable: bool,
        empty: bool,
        top: bool,
        real: bool,
        mine: bool,
    ) -> None:
        self.path = path
        self.offers = offers
        self.could = could
        self.writable = writable
        self.tellable = tellable
        self.empty = empty
        self.top = top
        self.real = real
        self.mine = mine

    def usable(self, wanted: frozenset[str]) -> frozenset[str]:
        """Which controllers groups made here would have.

        Those of others (systemd's slices) are used as they are; the first of a namespace, and a user's own, are told.
        """
        if not self.writable:
            return frozenset()
        may_tell = self.tellable and (self.real or (self.empty and (self.top or self.mine)))
        return (self.offers | self.could if may_tell else self.offers) & wanted


def levels(folder: str, top: str) -> list[Level]:
    """The own group at ``folder`` and all above it up to ``top``, the nearest first."""
    found: list[Level] = []
    while True:
        found.append(_level(folder, folder == top))
        if folder == top or len(folder) <= len(top):
            return found
        folder = os.path.dirname(folder)


def _level(folder: str, top: bool) -> Level:
    def may_write(path: str) -> bool:
        return os.access(path, os.W_OK, effective_ids=True)

    try:
        mine = os.geteuid() != 0 and os.stat(folder).st_uid == os.geteuid()
    except OSError:
        mine = False
    return Level(
        folder,
        frozenset(read(f"{folder}/cgroup.subtree_control").split()),
        frozenset(read(f"{folder}/cgroup.controllers").split()),
        # To move a process takes the right to write the file of what is above both its old and its new group.
        writable=may_write(folder) and may_write(f"{folder}/cgroup.procs"),
        tellable=may_write(f"{folder}/cgroup.subtree_control"),
        empty=not read(f"{folder}/cgroup.procs"),
        top=top,
        real=top and not os.path.exists(f"{folder}/cgroup.type"),
        mine=mine,
    )


def choose(found: list[Level], wanted: frozenset[str]) -> Level | None:
    """The nearest that has all that is wanted, else the nearest of those that have most of it; None where none has any."""
    best: Level | None = None
    for level in found:
        usable = level.usable(wanted)
        if usable and (best is None or len(usable) > len(best.usable(wanted))):
            best = level
    return best


def why_not(found: list[Level], missing: frozenset[str]) -> str:
    """In words, why ``choose`` found no group that offers what is missing, and what to do."""
    own, first = found[0].path, found[-1]
    if not any(level.could & missing for level in found):
        return (
            "version 2 offers nothing of that here: boot with systemd.unified_cgroup_hierarchy=1 and without cgroup_disable, "
            "or have them delegated to this container"
        )
    if os.geteuid() != 0:
        return f"no group above {own} may be used: start bakeoff with `systemd-run --user --scope -p Delegate=yes bakeoff …`"
    if not any(level.writable for level in found):
        return f"{own} is read-only: start the container with a writable /sys/fs/cgroup (docker: --privileged)"
    if not first.real and not first.empty:
        return (
            f"{first.path} holds processes itself, and so cannot offer controllers to groups in it: let the container's first "
            "program move all processes to a group of their own there"
        )
    return f"no group above {own} offers it: start bakeoff with `systemd-run --scope bakeoff …`"


def read(path: str, folder: int | None = None) -> str:
    """The text of a small file, empty where it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return ""
    try:
        parts: list[bytes] = []
        while part := os.read(fd, 1 << 16):
            parts.append(part)
        return os.fsdecode(b"".join(parts))
    except OSError:
        return ""
    finally:
        os.close(fd)
