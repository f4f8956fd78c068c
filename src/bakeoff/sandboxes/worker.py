"""The process that works on files of subordinate ids: root in a user namespace of its own, over this user's ids alone.

``far`` starts it and speaks with it. Each request has a thread; bytes go through pipes. It ends with its socket.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from bakeoff.sandboxes.zygote import own, wire

Operations = Mapping[str, Callable[[wire.Message, list[int]], object]]


def main(descriptor: int) -> None:
    """Serve the socket till its end. Its first message is that of ``subids.Subordinate.request``."""
    sock = socket.socket(fileno=descriptor)
    received = wire.receive(sock)
    if received is None:
        return
    try:
        own.enter(0, received[0])
        os.setgroups([])
    except OSError as error:
        with suppress(OSError):  # whoever asked has gone already: another was refused before
            wire.send(sock, {"event": "refused", "error": error.strerror or str(error)})
        return
    try:
        wire.send(sock, {"event": "ready"})
    except BrokenPipeError:
        return  # the harness is gone
    # What the work takes is loaded while the first sandbox is made.
    from bakeoff.sandboxes.worked import OPERATIONS

    try:
        while (received := wire.receive(sock)) is not None:
            try:
                threading.Thread(target=_answer, args=(sock, OPERATIONS, *received), daemon=True).start()
            except RuntimeError:  # no thread can be started: it is done here, and others wait
                _answer(sock, OPERATIONS, *received)
    except ConnectionResetError:
        pass
    os._exit(0)  # whatever is half done: nobody waits for it


def _answer(sock: socket.socket, operations: Operations, message: wire.Message, fds: list[int]) -> None:
    reply: wire.Message = {"id": message["id"]}
    try:
        reply["done"] = operations[message["op"]](message, fds)
    except OSError as error:
        reply["failed"] = ("os", error.errno or 0, error.strerror or str(error), str(error.filename or ""))
    except ValueError as error:  # of a tar or a path
        reply["failed"] = ("value", 0, str(error), "")
    except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
        reply["failed"] = ("sandbox", 0, str(error) or repr(error), "")
    finally:
        for fd in fds:
            os.close(fd)
    with suppress(OSError):  # the harness is gone
        wire.send(sock, reply)
