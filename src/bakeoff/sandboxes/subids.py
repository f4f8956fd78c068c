"""Subordinate ids: the ranges that /etc/subuid and /etc/subgid give this user, and the setuid programs that map them."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from collections.abc import Collection
from pathlib import Path

from msgspec import Struct

from bakeoff.errors import SandboxError

MOST = 65536
"""Ids that a sandbox has at most: all that images use, nobody's 65534 included."""

_LOWEST = 1000  # below are the machine's own accounts, root among them
_ABOVE = (1 << 32) - 1  # ids end before this one, which stands for none
_SEARCHED = "/usr/bin:/bin:/usr/local/bin"


class Range(Struct, frozen=True):
    """A line of /etc/subuid or /etc/subgid: ``owner`` is a name or an id."""

    owner: str
    first: int
    count: int


class Subordinate(Struct, frozen=True):
    """What this user may map. ``first_uid`` and ``first_gid`` become 1 inside; ``count``: ids with the user's own, which is 0."""

    newuidmap: str
    newgidmap: str
    first_uid: int
    first_gid: int
    count: int

    def request(self) -> dict[str, object]:
        """The same for the processes that enter such a namespace."""
        return {
            "newuidmap": self.newuidmap,
            "newgidmap": self.newgidmap,
            "first_uid": self.first_uid,
            "first_gid": self.first_gid,
            "count": self.count,
        }


class NoneHere(SandboxError):
    """Why there are no subordinate ids for this user."""


class Refused(NoneHere):
    """There are some, and they cannot be mapped."""


def find() -> Subordinate:
    """What this user may map, as the files of this machine say. Raises NoneHere."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        raise NoneHere(f"the id {uid} has no account, and newuidmap serves accounts alone") from None
    programs = [_program(program) for program in ("newuidmap", "newgidmap")]
    mine = (name, str(uid))
    uids = choose(_read("/etc/subuid"), mine, uid, "/etc/subuid")
    gids = choose(_read("/etc/subgid"), mine, os.getgid(), "/etc/subgid")
    return Subordinate(
        newuidmap=programs[0],
        newgidmap=programs[1],
        first_uid=uids.first,
        first_gid=gids.first,
        count=1 + min(uids.count, gids.count, MOST - 1),
    )


def remedy() -> str:
    """The commands that give this user subordinate ids."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = "NAME"
    return (
        "as root: `apt install uidmap` and "
        f"`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}` (a range that nobody else has)"
    )


def parse(text: str) -> tuple[Range, ...]:
    """The ranges in a file of the form of /etc/subuid. Lines that are none are left out, as newuidmap does."""
    found: list[Range] = []
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) != 3 or not fields[0]:
            continue
        first, count = map(_number, fields[1:])
        if first is not None and count and first + count <= _ABOVE:
            found.append(Range(owner=fields[0], first=first, count=count))
    return tuple(found)


def choose(ranges: Collection[Range], mine: Collection[str], own: int, where: str) -> Range:
    """The largest range whose owner is one of ``mine``, which are names of the same user, and that gives no id away.

    Left out is what holds ids of the machine's own accounts or this user's ``own``, and what somebody else has as well: their files
    would be each other's. Raises NoneHere, with what is wrong in the file ``where``.
    """
    wrong = f"{where} has no range for {next(iter(mine))}"
    others = [one for one in ranges if one.owner not in mine]
    best: Range | None = None
    for one in ranges:
        if one.owner not in mine:
            continue
        if one.first < _LOWEST:
            wrong = f"the range {one.first}:{one.count} in {where} has ids of the machine's own accounts"
        elif one.first <= own < one.first + one.count:
            wrong = f"the range {one.first}:{one.count} in {where} has this user's own id"
        elif other := next((other for other in others if _overlap(one, other)), None):
            wrong = f"the range {one.first}:{one.count} in {where} overlaps that of {other.owner}"
        elif best is None or one.count > best.count:
            best = one
    if best is None:
        raise NoneHere(wrong)
    return best


def _overlap(one: Range, other: Range) -> bool:
    return one.first < other.first + other.count and other.first < one.first + one.count


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None


def _read(path: str) -> tuple[Range, ...]:
    try:
        return parse(Path(path).read_text(errors="replace"))
    except OSError as error:
        raise NoneHere(f"{path} cannot be read: {error.strerror}") from None


def _program(name: str) -> str:
    path = shutil.which(name, path=f"{_SEARCHED}:{os.environ.get('PATH', '')}")
    if path is None:
        raise NoneHere(f"{name} is not on this machine")
    path = os.path.realpath(path)
    if not may_change_ids(path):
        raise NoneHere(f"{path} has lost its setuid bit, and maps nothing")
    return path


def may_change_ids(path: str) -> bool:
    """Whether a program gets rights of its own when it is run: by root's setuid bit, or by file capabilities."""
    found = os.stat(path)
    if found.st_mode & stat.S_ISUID and found.st_uid == 0:
        return True
    try:
        return "security.capability" in os.listxattr(path)
    except OSError:
        return False
