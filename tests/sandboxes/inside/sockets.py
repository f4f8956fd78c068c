"""Through sockets of other families, and at the network itself."""

from __future__ import annotations

import socket
import struct

from inside.kit import attack


def _open(family: int, kind: int, protocol: int = 0) -> str:
    with socket.socket(family, kind, protocol):
        return "opened"


@attack
def raw_socket() -> str | None:
    """Forge packets."""
    return _open(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)


@attack
def packet_socket() -> str | None:
    """Send and see frames of the network."""
    return _open(socket.AF_PACKET, socket.SOCK_RAW)


@attack
def old_packet_socket() -> str | None:
    """See frames of the network by an old name for such sockets."""
    return _open(socket.AF_INET, 10)


@attack
def vsock() -> str | None:
    """Talk to the host of the virtual machine."""
    return _open(socket.AF_VSOCK, socket.SOCK_STREAM)


@attack
def kernel_events() -> str | None:
    """Listen to, or forge, the kernel's events of devices."""
    return _open(socket.AF_NETLINK, socket.SOCK_RAW, 15)


@attack
def audit_messages() -> str | None:
    """Talk to the machine's audit."""
    return _open(socket.AF_NETLINK, socket.SOCK_RAW, 9)


@attack
def kernel_ciphers() -> str | None:
    """Have the kernel's drivers for ciphers parse one's data."""
    return _open(socket.AF_ALG, socket.SOCK_SEQPACKET)


@attack
def change_addresses() -> str | None:
    """Give an interface of the network another state."""
    # RTM_NEWLINK for interface 1 (the loopback), with nothing changed.
    message = struct.pack("=IHHII BBHiII", 32, 16, 5, 1, 0, 0, 0, 0, 1, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as link:
        link.send(message)
        answer = link.recv(4096)
    error = struct.unpack_from("=i", answer, 16)[0]
    if error:
        raise OSError(-error, "refused")
    return "permitted"
