"""What control groups this machine permits to this process, found out once and tried."""

import errno
import os

from . import folders, places
from .groups import USAGE, Hierarchy, Place

_PROBE = "probe"
_WORDS = {"memory": "memory", "pids": "processes", "cpu": "processors"}


def find(token: str, wanted: tuple[str, ...] = places.WANTED) -> Hierarchy:
    """What is permitted here, tried out; ``token`` is the name of the harness's live folder, twelve hexadecimal digits.

    Makes the folders of this harness, which ``Hierarchy.close`` removes. To be called before any namespace is unshared and
    before anything is mounted over /sys: it forks a child that tries, and asks whose the groups are. Never raises for what the
    machine lacks.
    """
    name = folders.PREFIX + token
    if not folders.is_ours(name):
        raise ValueError(token)
    mounted = places.mounts(places.read("/proc/self/mountinfo"))
    groups = places.own_groups(places.read("/proc/self/cgroup"))
    if not mounted:
        return Hierarchy(0, [], "no control groups are mounted: mount -t cgroup2 none /sys/fs/cgroup")
    if any(places.own_folder(mounted, groups, controller)[0] for controller in wanted):
        return _find_1(name, mounted, groups, wanted)
    return _find_2(name, mounted, groups, frozenset(wanted))


def _find_1(name: str, mounted: list[places.Mount], groups: dict[str, str], wanted: tuple[str, ...]) -> Hierarchy:
    by_folder: dict[str, set[str]] = {}
    refused: dict[str, str] = {}
    for controller in (*wanted, USAGE):
        folder, _top = places.own_folder(mounted, groups, controller)
        if folder:
            by_folder.setdefault(os.path.realpath(folder), set()).add(controller)
        elif controller in _WORDS:
            refused[controller] = "it is not mounted, or this process's group is outside of what is"
    found: list[Place] = []
    for folder, controllers in by_folder.items():
        try:
            path = f"{folder}/{name}"
            found.append(Place(folders.own(path), path, frozenset(controllers)))
        except OSError as error:
            why = f"this process's own groups cannot be written ({error.strerror}): {_remedy(error)}"
            refused.update(dict.fromkeys(controllers & _WORDS.keys(), why))
    unjoinable = _unjoinable(Hierarchy(1, found, ""))
    for place in unjoinable:
        why = f"processes cannot be moved below {place.path}: run bakeoff as root"
        refused.update(dict.fromkeys(place.controllers & _WORDS.keys(), why))
    Hierarchy(1, unjoinable, "").close()
    return Hierarchy(1, [place for place in found if place not in unjoinable], _words(refused))


def _find_2(name: str, mounted: list[places.Mount], groups: dict[str, str], wanted: frozenset[str]) -> Hierarchy:
    folder, top = places.own_folder(mounted, groups, "")
    if not folder:
        return Hierarchy(0, [], "this process's control group is outside of what is mounted")
    levels = places.levels(folder, top)
    level = places.choose(levels, wanted)
    if level is None:
        return Hierarchy(0, [], _words(dict.fromkeys(wanted, places.why_not(levels, wanted))))
    path = f"{level.path}/{name}"
    usable = level.usable(wanted)
    refused = dict.fromkeys(wanted - usable, places.why_not(levels, wanted - usable))
    place: Place | None = None
    try:
        for controller in sorted(usable - level.offers):
            folders.write(f"{level.path}/cgroup.subtree_control", f"+{controller}")
        place = Place(folders.own(path), path, usable)
        for controller in sorted(usable):
            folders.write("cgroup.subtree_control", f"+{controller}", place.fd)
    except OSError as error:
        if place:
            Hierarchy(2, [place], "").close()
        why = f"{level.path} cannot be used ({error.strerror}): {_remedy(error)}"
        return Hierarchy(0, [], _words(dict.fromkeys(wanted, why)))
    hierarchy = Hierarchy(2, [place], _words(refused))
    if _unjoinable(hierarchy):
        hierarchy.close()
        why = f"processes cannot be moved from {folder} to {path}: start bakeoff in a group below {level.path}"
        return Hierarchy(0, [], _words(dict.fromkeys(wanted, why)))
    return hierarchy


def _unjoinable(hierarchy: Hierarchy) -> list[Place]:
    """Those places whose groups a child of this process cannot join: tried, since too much decides it to be foretold."""
    try:
        group = hierarchy.make(_PROBE)
    except OSError:
        return hierarchy.places
    pid = group.fork()
    if pid == 0:
        failed = 0
        for number, place in enumerate(group.places):
            try:
                group.join_at(place)
            except OSError:
                failed |= 1 << number
        os._exit(failed)
    failed = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    tried = list(group.places)
    group.remove()
    return [place for number, place in enumerate(tried) if failed >> number & 1]


def _words(refused: dict[str, str]) -> str:
    """``memory and processes cannot be limited: why``, for each reason."""
    by_why: dict[str, list[str]] = {}
    for controller, why in sorted(refused.items()):
        by_why.setdefault(why, []).append(_WORDS.get(controller, controller))
    return "; ".join(f"{' and '.join(names)} cannot be limited: {why}" for why, names in by_why.items())


def _remedy(error: OSError) -> str:
    if error.errno == errno.EROFS:
        return "start the container with a writable /sys/fs/cgroup (docker: --privileged)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "run bakeoff as root"
    if error.errno == errno.ENOENT:
        return "something else is mounted over /sys/fs/cgroup: unmount that"
    return "see the kernel's log"
