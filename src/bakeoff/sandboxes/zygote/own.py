"""A user namespace of one's own: with one id, which needs nobody, or with subordinate ids, which setuid programs map."""

import errno
import os
import select
import signal

from . import syscalls as sys_
from . import wire

_WITHIN = 20.0  # seconds; the programs take milliseconds, unless accounts are looked up over a network
_REASON = 2048


class Unmapped(OSError):
    """The subordinate ids were refused. The namespace of this process has no ids now, and is good for nothing."""


def enter(flags: int, subordinate: "wire.Message | None") -> int:
    """Enter a new user namespace and the others in ``flags``; how many ids it has. 0 in it is who this process was.

    ``subordinate`` is of ``subids.Subordinate.request``. Raises Unmapped, and OSError where namespaces are refused.
    """
    uid, gid = os.geteuid(), os.getegid()
    if subordinate is None:
        sys_.unshare(sys_.CLONE_NEWUSER | flags)
        for name, value in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{name}", "w") as stream:
                stream.write(value)
        return 1
    # The programs must run outside, so a child stays there and starts them once this process has entered.
    wait, go = os.pipe()
    told, tell = os.pipe()
    here = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            os.close(go)
            if os.read(wait, 1):
                os.write(tell, _map(here, uid, gid, subordinate) or b"\0")
        finally:
            os._exit(0)
    os.close(wait)
    os.close(tell)
    try:
        sys_.unshare(sys_.CLONE_NEWUSER | flags)
        os.write(go, b"1")
        answer = os.read(told, _REASON) if select.select([told], [], [], _WITHIN)[0] else b"newuidmap does not end"
    finally:
        os.close(go)
        os.close(told)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if answer != b"\0":
        raise Unmapped(errno.EPERM, answer.decode("utf-8", "replace") or "newuidmap could not be started")
    return subordinate["count"]


def _map(pid: int, uid: int, gid: int, subordinate: "wire.Message") -> bytes:
    """Let the programs write both mappings of the process; what they say where they refuse."""
    said, say = os.pipe()
    running: list[int] = []
    try:
        for name, own, first in (("newuidmap", uid, "first_uid"), ("newgidmap", gid, "first_gid")):
            numbers = (pid, 0, own, 1, 1, subordinate[first], subordinate["count"] - 1)
            actions = [(os.POSIX_SPAWN_DUP2, say, 2)]
            argv = [name, *map(str, numbers)]
            running.append(os.posix_spawn(subordinate[name], argv, {}, file_actions=actions))
    except OSError as error:
        return str(error).encode()
    finally:
        os.close(say)
        codes = [os.waitpid(child, 0)[1] for child in running]
    if codes == [0, 0]:
        return b""
    text = os.read(said, _REASON) if select.select([said], [], [], 0)[0] else b""
    return b"; ".join(text.split(b"\n")[:2]).strip(b"; ") or b"newuidmap failed and does not say why"
