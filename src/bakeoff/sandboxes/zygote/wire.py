"""Messages between the harness and the zygote: a marshalled dictionary and descriptors over a SOCK_SEQPACKET socket.

Only these two speak on the socket; nothing inside a sandbox ever holds it.
"""

import array
import marshal
import os
import socket

TYPE_CHECKING = False  # the name that type checkers know; the module is not worth its time to load
if TYPE_CHECKING:
    from typing import Any

_INLINE = 60_000
MOST_FDS = 253  # that the kernel passes with one message
_ROOM = socket.CMSG_SPACE(MOST_FDS * 4)
Message = dict[str, "Any"]


def pack(message: Message, fds: list[int]) -> tuple[bytes, list[int], int]:
    """The bytes and descriptors to send, and a descriptor to close afterwards (-1: none).

    A message that does not fit a packet travels in a memfd.
    """
    data = marshal.dumps(message)
    if len(data) <= _INLINE:
        return data, fds, -1
    fd = os.memfd_create("message", os.MFD_CLOEXEC)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    return b"", [*fds, fd], fd


def send_packed(sock: socket.socket, data: bytes, fds: list[int]) -> None:
    ancillary: list[tuple[int, int, array.array[int]]] = (
        [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    )
    sock.sendmsg([data or b"\0"], ancillary)


def send(sock: socket.socket, message: Message, fds: list[int] | None = None) -> None:
    data, all_fds, extra = pack(message, fds or [])
    try:
        send_packed(sock, data, all_fds)
    finally:
        if extra >= 0:
            os.close(extra)


def receive(sock: socket.socket) -> tuple[Message, list[int]] | None:
    """The next message and its descriptors (close-on-exec), or None when the other end is gone."""
    data, ancillary, _flags, _address = sock.recvmsg(_INLINE + 1024, _ROOM, socket.MSG_CMSG_CLOEXEC)
    fds: array.array[int] = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    if not data:
        return None
    received = list(fds)
    if data == b"\0":
        fd = received.pop()
        with open(fd, "rb") as stream:
            stream.seek(0)
            data = stream.read()
    return marshal.loads(data), received
