"""What an IP address is: public, or of a kind that no sandbox reaches by name."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Block = IPv4Network | IPv6Network

PUBLIC = "public"
PRIVATE = "private"

_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254",  # most clouds
            "169.254.170.2",  # AWS, credentials of containers
            "168.63.129.16",  # Azure, a public address that each machine has to itself
            "100.100.100.200",  # Alibaba
            "192.0.0.192",  # Oracle
            "fd00:ec2::254",  # AWS
            "fd20:ce::254",  # Google
        ),
    )
)
"""Where clouds hand credentials to whoever asks from inside the machine."""

_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("loopback", ("127.0.0.0/8", "::1/128")),
    ("unspecified", ("0.0.0.0/8", "::/128")),
    ("link-local", ("169.254.0.0/16", "fe80::/10")),
    ("multicast", ("224.0.0.0/4", "ff00::/8")),
    ("reserved", ("192.0.0.0/24", "192.88.99.0/24", "255.255.255.255/32", "2001::/32", "2002::/16")),
    (
        PRIVATE,
        (
            *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
            # Of carriers and overlay networks, for measuring, for documentation, for the future: in use, they are somebody's own.
            *("100.64.0.0/10", "198.18.0.0/15", "240.0.0.0/4", "2001::/23"),
            *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
        ),
    ),
)
"""The special-purpose registries of IANA (RFC 6890), as far as nothing that everybody can reach lies there."""

_BLOCKS: tuple[tuple[str, Block], ...] = tuple(
    (kind, ipaddress.ip_network(block)) for kind, blocks in _KINDS for block in blocks
)
_PRIVATE_BLOCKS = tuple(block for kind, block in _BLOCKS if kind == PRIVATE)
_GLOBAL_6 = IPv6Network("2000::/3")
_TRANSLATED = IPv6Network("64:ff9b::/96")


def plain(address: Address) -> Address:
    """An IPv4 address that is written as an IPv6 one (``::ffff:10.0.0.1``) as itself, any other unchanged."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def kind_of(address: Address) -> str:
    """``public``, ``private``, ``loopback``, ``link-local``, ``multicast``, ``unspecified``, ``reserved`` or ``metadata``."""
    address = plain(address)
    if isinstance(address, IPv6Address) and address in _TRANSLATED:
        # A translator on the way makes an IPv4 address of it.
        address = IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _METADATA:
        return "metadata"
    for kind, block in _BLOCKS:
        if address.version == block.version and address in block:
            return kind
    if isinstance(address, IPv6Address) and address not in _GLOBAL_6:
        return "reserved"
    return PUBLIC


def within_private(block: Block) -> bool:
    """Whether all of ``block`` is private: a network that somebody named as such, and not by naming everything."""
    return any(_inside(block, private) for private in _PRIVATE_BLOCKS)


def _inside(block: Block, outer: Block) -> bool:
    if isinstance(block, IPv4Network):
        return isinstance(outer, IPv4Network) and block.subnet_of(outer)
    return isinstance(outer, IPv6Network) and block.subnet_of(outer)
