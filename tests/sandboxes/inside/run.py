"""Run the attacks that are named, each in a process of its own with a deadline, and write what came of each as JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from inside import kernel, kit, machine, mounts, privileges, sockets, tracing

MODULES = (kernel, machine, mounts, privileges, sockets, tracing)
DEADLINE = 5  # seconds


def _mount_apart() -> None:
    """What one attack mounts, where it can at all, must not be in the way of the next."""
    if kit.libc.unshare(0x00020000) == 0:
        kit.mount("none", "/", "", 1 << 14 | 1 << 18)


def one(name: str) -> dict[str, str]:
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(DEADLINE)
        if kit.facts.get("inside"):
            _mount_apart()
        try:
            said = kit.ATTACKS[name]()
            told = {"broke": said} if said else {"stopped": "to no avail"}
        except OSError as error:
            told = {"stopped": str(error)}
        except BaseException as error:  # noqa: BLE001 - a forked child must not return into the loop
            told = {"inert": f"{type(error).__name__}: {error}"}
        os.write(into, json.dumps(told).encode())
        os._exit(0)
    os.close(into)
    told = os.read(out, 1 << 16)
    os.close(out)
    _, status = os.waitpid(pid, 0)
    return json.loads(told) if told else {"inert": f"ended with {os.waitstatus_to_exitcode(status)}"}


if __name__ == "__main__":
    begun = time.monotonic()
    results = {name: one(name) for name in sys.argv[1:]}
    print(json.dumps(results), flush=True)
    print(f"{time.monotonic() - begun:.3f} s", file=sys.stderr)
