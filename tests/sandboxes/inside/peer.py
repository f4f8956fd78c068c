"""A service that uses what the kernel tells of whoever connects: ``python3 -m inside.peer SOCKET``."""

from __future__ import annotations

import os
import signal
import socket
import sys

from inside.kit import call

_PEERPIDFD = 77


def serve(path: str) -> None:
    """Answer one client; say what could be done to it."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        print("serving", flush=True)
        client, _ = server.accept()
        client.sendall(b"hello\n")
        pidfd = client.getsockopt(socket.SOL_SOCKET, _PEERPIDFD)
        print("known", flush=True)
        try:
            print("took", os.pread(call("pidfd_getfd", pidfd, 3, 0), 100, 0).decode(), flush=True)
        except OSError as error:
            print("not taken:", error, flush=True)
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            print("killed", flush=True)
        except OSError as error:
            print("not killed:", error, flush=True)
        client.close()
        signal.pause()


if __name__ == "__main__":
    serve(sys.argv[1])
