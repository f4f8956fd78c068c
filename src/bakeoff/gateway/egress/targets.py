"""Where a request wants to go: hosts and ports in one spelling, whatever they were written like."""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Address, IPv6Address

from msgspec import Struct

from bakeoff.gateway.egress.addresses import Address, plain

_LONGEST = 253
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_AUTHORITY = re.compile(r"[A-Za-z0-9._:\[\]-]+")
_PORT = re.compile(r"[0-9]{1,5}")


class BadTarget(ValueError):
    """What cannot be read as a host and a port; the text says why."""


class Target(Struct, frozen=True):
    """``host`` is a name in lower case without a final dot, or an address as it is usually written; ``address`` is set for the latter."""

    host: str
    port: int
    address: Address | None = None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_authority(text: str, default_port: int | None = None) -> Target:
    """``host:port`` as it stands in a request, with brackets around IPv6. Raises BadTarget, for user names before the host too."""
    if "@" in text:
        raise BadTarget("a user name before the host")
    if not _AUTHORITY.fullmatch(text) or len(text) > _LONGEST + 8:
        raise BadTarget("not a host and a port")
    if text.startswith("["):
        inner, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise BadTarget("not an IPv6 address in brackets")
        address = plain(_v6(inner))
        return Target(str(address), _port(rest[1:], default_port), address)
    host, _, port = text.partition(":")
    name, address = parse_host(host)
    return Target(name, _port(port, default_port), address)


def parse_host(text: str) -> tuple[str, Address | None]:
    """A name or an IPv4 address in any of its spellings (``127.1``, ``0x7f000001``, ``017700000001``). Raises BadTarget."""
    host = text.lower().removesuffix(".")
    labels = host.split(".")
    if len(host) > _LONGEST or not all(map(_LABEL.fullmatch, labels)):
        raise BadTarget("not a host name")
    if _NUMBER.fullmatch(labels[-1]):
        address = IPv4Address(_v4(labels))
        return str(address), address
    return host, None


def _v4(parts: list[str]) -> int:
    """The number of an IPv4 address of one to four parts, each decimal, octal (0…) or hexadecimal (0x…); the last fills what is left."""
    if len(parts) > 4:
        raise BadTarget("an IPv4 address of more than four parts")
    numbers = [_number(part) for part in parts]
    last = numbers.pop()
    if any(number > 255 for number in numbers) or last >= 256 ** (4 - len(numbers)):
        raise BadTarget("an IPv4 address with a part that is too large")
    return sum(number << (24 - 8 * at) for at, number in enumerate(numbers)) + last


def _number(part: str) -> int:
    try:
        if _NUMBER.fullmatch(part):
            return int(part[2:] or "0", 16) if part.startswith("0x") else int(part, 8 if part.startswith("0") else 10)
    except ValueError:
        pass  # an 8 or a 9 in an octal number
    raise BadTarget("an IPv4 address with a part that is no number")


def _v6(text: str) -> IPv6Address:
    try:
        return ipaddress.IPv6Address(text)
    except ValueError:
        raise BadTarget("not an IPv6 address in brackets") from None


def _port(text: str, default: int | None) -> int:
    if not text and default is not None:
        return default
    if not _PORT.fullmatch(text) or not 0 < int(text) < 65536:
        raise BadTarget("not a port" if text else "no port")
    return int(text)
