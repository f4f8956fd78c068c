"""What a network lets through, as rules; pure. A host is judged before it is resolved, and every address that it resolves to after."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from bakeoff.errors import InputError
from bakeoff.gateway.egress.addresses import PRIVATE, PUBLIC, Address, Block, kind_of, plain, within_private
from bakeoff.gateway.egress.targets import BadTarget, Target, parse_host
from bakeoff.tasks.model import Network, NetworkMode

Reason = Literal[
    "allowed",
    "no_network",
    "not_listed",
    "address_not_public",
    "this_machine",
    "unresolved",
    "unreachable",
]
"""Why a request was passed on, refused or failed, as records have it."""

_WANTED = "a host name, *.host, an IP address or a CIDR, each with :PORT if only that port is meant"
_SHOWN = 8


class Rule(Struct, frozen=True):
    """One entry of an allowlist, as written in ``text``. ``wild``: the names below ``name``, and not the name itself."""

    text: str
    name: str = ""
    wild: bool = False
    block: Block | None = None
    port: int | None = None

    def matches(self, target: Target) -> bool:
        """Whether it lists the target, by its name or its literal address."""
        if self.port not in (None, target.port):
            return False
        if target.address is not None:
            return self.holds(target.address)
        if not self.name:
            return False
        return target.host.endswith(f".{self.name}") if self.wild else target.host == self.name

    def holds(self, address: Address) -> bool:
        return self.block is not None and self.block.version == address.version and address in self.block

    def lifts(self, address: Address, port: int) -> bool:
        """Whether it names a private address literally: itself, or in a network that is private as a whole."""
        if self.block is None or not self.holds(address) or self.port not in (None, port):
            return False
        return self.block.num_addresses == 1 or within_private(self.block)


class Policy(Struct, frozen=True):
    mode: NetworkMode
    rules: tuple[Rule, ...] = ()


class Ruling(Struct, frozen=True):
    """``text`` says to whoever asked what was refused and what would allow it; it is empty where nothing was."""

    allowed: bool
    reason: Reason = "allowed"
    text: str = ""


ALLOWED = Ruling(True)


def policy_of(network: Network) -> Policy:
    """The policy of a network. Raises InputError for a host that cannot be read."""
    return Policy(network.mode, tuple(map(parse_rule, network.hosts)))


def parse_rule(text: str) -> Rule:
    """A host, ``*.host``, IP address or CIDR, optionally with ``:PORT``; IPv6 with a port in brackets. Raises InputError."""
    try:
        return _parse_rule(text)
    except ValueError as error:
        why = str(error) if isinstance(error, BadTarget) else "not a host"
        raise InputError(why, where="allowlist", found=repr(text[:300]), wanted=_WANTED) from None


def _parse_rule(text: str) -> Rule:
    if len(text) > 300:
        raise BadTarget("not a host name")
    bare, port = _without_port(text)
    try:
        block = ipaddress.ip_network(bare, strict=False)
    except ValueError:
        pass
    else:
        if isinstance(block, ipaddress.IPv6Network) and "%" in bare:
            raise BadTarget("an address with a zone")
        return Rule(text, block=_plain_block(block), port=port)
    wild = bare.startswith("*.")
    name, address = parse_host(_ascii(bare.removeprefix("*.")))
    if address is None:
        return Rule(text, name=name, wild=wild, port=port)
    if wild:
        raise BadTarget("an address has nothing below it")
    return Rule(text, block=ipaddress.ip_network(address), port=port)


def _without_port(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        inner, closed, rest = text[1:].partition("]")
        if not closed or ":" not in inner or (rest and not rest.startswith(":")):
            raise BadTarget("not an IPv6 address in brackets")
        return inner, _port(rest[1:]) if rest else None
    if text.count(":") != 1:  # several are an IPv6 address with no port
        return text, None
    bare, _, port = text.partition(":")
    return bare, _port(port)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536):
        raise BadTarget("not a port")
    return int(text)


def _plain_block(block: Block) -> Block:
    """A network of IPv4 addresses that are written as IPv6 ones as what it is."""
    first = plain(block.network_address)
    if block.version == 6 and first.version == 4 and block.prefixlen >= 96:
        return ipaddress.ip_network(f"{first}/{block.prefixlen - 96}")
    return block


def _ascii(name: str) -> str:
    """An international name as it is asked for (``xn--…``)."""
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        raise BadTarget("not a host name") from None


def asked(policy: Policy, target: Target) -> Ruling:
    """Whether the target may be asked for at all. A name that may not is never resolved: a lookup tells others of it."""
    if policy.mode is NetworkMode.PUBLIC:
        return ALLOWED
    if target.address is not None and (never := _never(f"{target} is", target.address)) is not None:
        return never
    if policy.mode is not NetworkMode.ALLOWLIST:
        text = f"{target}: this phase of the task has no network. {_would_allow(target.host)}"
        return Ruling(False, "no_network", text)
    if any(rule.matches(target) for rule in policy.rules):
        return ALLOWED
    text = f"{target} is not in the allowlist ({_listed(policy.rules)}). {_would_allow(target.host)}"
    return Ruling(False, "not_listed", text)


def reached(policy: Policy, target: Target, address: Address, *, own: bool = False) -> Ruling:
    """Whether the connection may go to this address of a target that may be asked for. ``own``: it is one of this machine's."""
    address = plain(address)
    what = f"{target} is" if target.address is not None else f"{target} resolves to"
    if (never := _never(what, address)) is not None:
        return never
    public = kind_of(address) == PUBLIC
    if (public and not own) or any(rule.lifts(address, target.port) for rule in policy.rules):
        return ALLOWED
    if public:
        return Ruling(False, "this_machine", f"{what} an address of the machine that bakeoff runs on. {_LITERALLY}")
    return Ruling(False, "address_not_public", f"{what} a private address. {_LITERALLY}")


def _never(what: str, address: Address) -> Ruling | None:
    """The refusal of an address that no allowlist lets through; None for any other."""
    kind = kind_of(address)
    if kind in (PUBLIC, PRIVATE):
        return None
    article = "an" if kind == "unspecified" else "a"
    return Ruling(False, "address_not_public", f"{what} {article} {kind} address, which no sandbox reaches.")


_LITERALLY = (
    "Only an allowlist that names the address or its private network literally, beside the name, lets it through: "
    'allowed_hosts = ["NAME", "ADDRESS"] or --network allowlist:NAME,ADDRESS.'
)


def _would_allow(host: str) -> str:
    return f'To allow it: allowed_hosts = ["{host}"] in task.toml, or bakeoff run --network allowlist:{host}'


def _listed(rules: Sequence[Rule]) -> str:
    shown = ", ".join(rule.text for rule in rules[:_SHOWN]) or "empty"
    return f"{shown}, and {len(rules) - _SHOWN} more" if len(rules) > _SHOWN else shown
