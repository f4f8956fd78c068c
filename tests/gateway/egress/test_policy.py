"""What a network lets through: names, addresses in any spelling, and what they resolve to."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bakeoff.errors import InputError
from bakeoff.gateway.egress.addresses import kind_of
from bakeoff.gateway.egress.policy import Policy, asked, parse_rule, policy_of, reached
from bakeoff.gateway.egress.targets import BadTarget, Target, parse_authority
from bakeoff.tasks.harbor_environment import network as read_network
from bakeoff.tasks.model import Network, NetworkMode

PUBLIC = policy_of(Network(NetworkMode.PUBLIC))
HOSTS = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?(\.[a-z]([a-z0-9-]{0,8}[a-z0-9])?){0,3}", fullmatch=True)
ADDRESSES = st.ip_addresses()


def allowlist(*hosts: str) -> Policy:
    return policy_of(Network(NetworkMode.ALLOWLIST, hosts))


def target(text: str) -> Target:
    return parse_authority(text, 80)


def passes(policy: Policy, text: str, *found: str) -> bool:
    """Whether it may be asked for and every address that it resolves to may be reached."""
    wanted = target(text)
    addresses = [wanted.address] if wanted.address is not None else [ipaddress.ip_address(one) for one in found]
    return asked(policy, wanted).allowed and all(reached(policy, wanted, address).allowed for address in addresses)


@pytest.mark.parametrize(
    ("rule", "text", "allowed"),
    [
        ("example.org", "example.org", True),
        ("example.org", "EXAMPLE.Org.:443", True),
        ("Example.ORG.", "example.org", True),
        ("example.org", "www.example.org", False),
        ("example.org", "evilexample.org", False),
        ("example.org", "example.org.evil.com", False),
        ("example.org", "example.orgg", False),
        ("*.example.org", "www.example.org", True),
        ("*.example.org", "a.b.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "evil-example.org", False),
        ("example.org:8080", "example.org:8080", True),
        ("example.org:8080", "example.org:443", False),
        ("bücher.example", "xn--bcher-kva.example", True),
        ("9.9.9.0/24", "9.9.9.77", True),
        ("9.9.9.0/24", "9.9.10.1", False),
        ("9.9.9.9:53", "9.9.9.9:53", True),
        ("9.9.9.9:53", "9.9.9.9", False),
        ("2606:4700::/32", "[2606:4700::1111]", True),
        ("[2606:4700::1111]:443", "[2606:4700:0:0::1111]:443", True),
        ("[2606:4700::1111]:443", "[2606:4700::1111]:80", False),
        ("::ffff:9.9.9.0/120", "9.9.9.9", True),
    ],
)
def test_an_allowlist_lets_through_what_it_names_and_nothing_that_looks_like_it(
    rule: str, text: str, allowed: bool
) -> None:
    assert passes(allowlist(rule), text, "9.9.9.9") is allowed


def test_an_allowlist_of_nothing_lets_nothing_through() -> None:
    assert not passes(allowlist(), "example.org", "9.9.9.9")
    assert asked(policy_of(Network(NetworkMode.NONE)), target("example.org")).reason == "no_network"


def test_a_name_is_not_reached_because_its_address_is_listed_and_so_is_never_looked_up() -> None:
    assert asked(allowlist("9.9.9.0/24"), target("example.org")).reason == "not_listed"


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "::1", "0.0.0.0", "::", "169.254.1.1", "fe80::1", "224.0.0.1", "ff02::1", "255.255.255.255"),
        *("169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "::ffff:127.0.0.1"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::1", "2001:0:1::1", "::7f00:1", "fec0::1", "4000::1"),
    ],
)
def test_what_is_nobodys_address_on_the_internet_is_reached_by_no_means(address: str) -> None:
    spelled = f"[{address}]" if ":" in address else address
    everything = allowlist("example.org", address, "0.0.0.0/0", "::/0", "127.0.0.0/8", "169.254.0.0/16", "fd00::/8")
    for policy in (PUBLIC, everything):
        assert not passes(policy, spelled)
        assert not passes(policy, "example.org", address)
    # Nobody is told to list what listing does not help.
    assert "allowlist" not in asked(everything, target(spelled)).text


@pytest.mark.parametrize("address", ["10.1.2.3", "172.16.0.1", "192.168.7.7", "100.64.0.1", "198.18.0.1", "fd12::1"])
def test_a_private_address_is_reached_where_it_or_its_network_is_named_literally(address: str) -> None:
    block = {"10.1.2.3": "10.1.0.0/16", "fd12::1": "fd12::/32"}.get(address, address)
    assert not passes(PUBLIC, "mirror.example.org", address)
    assert not passes(allowlist("mirror.example.org"), "mirror.example.org", address)
    assert not passes(allowlist("mirror.example.org", "0.0.0.0/0", "::/0"), "mirror.example.org", address)
    assert passes(allowlist("mirror.example.org", block), "mirror.example.org", address)
    assert not passes(allowlist(block), "mirror.example.org", address)


def test_a_port_limits_what_a_literal_address_lifts() -> None:
    policy = allowlist("mirror.example.org", "10.1.2.3:8080")
    assert passes(policy, "mirror.example.org:8080", "10.1.2.3")
    assert not passes(policy, "mirror.example.org:22", "10.1.2.3")


def test_this_machines_own_public_address_is_reached_only_where_it_is_named() -> None:
    nine = ipaddress.ip_address("9.9.9.9")
    assert reached(PUBLIC, target("example.org"), nine, own=True).reason == "this_machine"
    assert not reached(allowlist("example.org", "0.0.0.0/0"), target("example.org"), nine, own=True).allowed
    assert reached(allowlist("example.org", "9.9.9.9"), target("example.org"), nine, own=True).allowed


def spellings(address: ipaddress.IPv4Address) -> list[str]:
    a, b, c, d = address.packed
    number = int(address)
    return [
        str(address),
        f"{address}.",
        str(number),
        hex(number),
        f"0{number:o}",
        f"0X{number:X}",
        f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{number & 0xFFFF}",
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a}.{b:#x}.0{c:o}.{d}",
        f"[::ffff:{address}]",
        f"[0:0:0:0:0:FFFF:{number >> 16:x}:{number & 0xFFFF:x}]",
    ]


@given(st.ip_addresses(v=4))
@example(ipaddress.IPv4Address("0.0.0.0"))
@example(ipaddress.IPv4Address("127.0.0.1"))
def test_an_address_is_the_same_however_it_is_spelled(address: ipaddress.IPv4Address) -> None:
    assert {target(text) for text in spellings(address)} == {Target(str(address), 80, address)}


@given(ADDRESSES)
def test_what_is_called_public_can_be_reached_by_everybody(address: ipaddress.IPv4Address) -> None:
    if kind_of(address) == "public":
        assert address.is_global and not address.is_multicast


@given(st.text(max_size=40) | st.from_regex(r"[\[\]:.@%/0-9a-fx-]{1,24}", fullmatch=True))
@example("user@example.org")
@example("example.org:443@10.0.0.1")
@example("[fe80::1%eth0]:80")
@example("exa mple.org")
@example("example.org\r\nHost: x")
@example("127.0.0.1%00.example.org")
@example("1.2.3.4.5")
@example("256.1.1.1")
@example("1_0.0.0.1")
@example("例え.jp")
@example("localhost:65536")
@example("a" * 64)
def test_a_target_is_read_in_one_way_or_not_at_all(text: str) -> None:
    try:
        read = parse_authority(text, 80)
    except BadTarget:
        return
    assert read.host == read.host.lower() and 0 < read.port < 65536
    assert parse_authority(str(read)) == read


@pytest.mark.parametrize(
    "text", ["", ":", "[::1", "::1", "a:b", "a:1:2", "user@a", "a@b:1", ".", "a..b", "a:0", "a:-1"]
)
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(BadTarget):
        parse_authority(text, 80)


@given(st.text(max_size=40) | st.from_regex(r"[\[\]:.*%/0-9a-fx-]{1,24}", fullmatch=True))
def test_a_rule_is_read_or_refused_with_what_would_be_right(text: str) -> None:
    try:
        parse_rule(text)
    except InputError as error:
        assert error.wanted


@given(HOSTS | HOSTS.map("*.{}".format) | ADDRESSES.map(str) | st.from_regex(r"[a-z0-9.*_-]{1,12}", fullmatch=True))
@example("10.0.0.0/8")
@example("10.0.0.256")
@example("1.2.3.4.5")
def test_every_host_that_a_task_may_name_is_a_rule(text: str) -> None:
    findings: list[InputError] = []
    read_network("allowlist", (text,), "task.toml", "environment", findings)
    if not findings:
        assert parse_rule(text).text == text


@given(HOSTS, st.integers(1, 65535))
def test_a_host_is_let_through_by_its_own_rule(host: str, port: int) -> None:
    wanted = Target(host, port)
    assert asked(allowlist(host), wanted).allowed
    assert asked(allowlist(f"{host.upper()}.:{port}"), wanted).allowed
    assert asked(allowlist(f"*.{host}"), Target(f"x.{host}", port)).allowed
    assert not asked(allowlist(f"*.{host}"), wanted).allowed


def test_a_refusal_says_what_would_allow_it() -> None:
    text = asked(allowlist("repo.example"), target("example.org:8080")).text
    assert "example.org:8080 is not in the allowlist (repo.example)" in text
    assert "--network allowlist:example.org" in text and 'allowed_hosts = ["example.org"]' in text
