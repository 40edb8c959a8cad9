"""Which addresses a fetch may connect to."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import imaged
from imaged.core.network_policy import (
    IPV4_SPECIAL,
    IPV6_SPECIAL,
    Address,
    is_loopback,
    is_public,
    may_be_reached,
    nat64_target,
)

PUBLIC = ["1.1.1.1", "172.15.255.255", "::ffff:8.8.8.8", "2a00:1450:4001:829::200e"]
#: One of each kind; the registry below has every block.
INSIDE = [
    *("0.0.0.0", "10.0.0.1", "127.0.0.1", "169.254.169.254", "192.168.0.1"),
    *("224.0.0.1", "239.255.255.255", "255.255.255.255"),
    *("::", "::1", "::127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"),
    *("fc00::1", "4000::1", "fe80::1", "fec0::1", "ff02::1"),
]


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses(text: str) -> None:
    """One host of the public internet."""
    assert is_public(ip_address(text))
    assert may_be_reached(ip_address(text), ())


@pytest.mark.parametrize("text", INSIDE)
def test_addresses_that_lead_elsewhere(text: str) -> None:
    """Private, local, reserved, many hosts at once, or an IPv4 address in disguise."""
    assert not is_public(ip_address(text))
    assert not may_be_reached(ip_address(text), ())


@pytest.mark.parametrize(
    ("text", "allowed", "may"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("::ffff:10.1.2.3", "10.0.0.0/8", True),
        ("11.0.0.1", "10.0.0.0/8", True),
        ("192.168.0.1", "10.0.0.0/8", False),
        ("fd00::1", "fd00::/8", True),
        ("fd00::1", "10.0.0.0/8", False),
        ("64:ff9b::a00:1", "10.0.0.0/8", False),
    ],
)
def test_networks_that_the_operator_allows(text: str, allowed: str, *, may: bool) -> None:
    """They are reached beyond the public ones, by the address that the kernel connects to."""
    assert may_be_reached(ip_address(text), (ip_network(allowed),)) is may


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_judged_as_the_one_in_it(address: object) -> None:
    """The kernel connects to the same host."""
    assert is_public(ip_address(f"::ffff:{address}")) is is_public(ip_address(str(address)))


# IANA's IPv4 and IPv6 Special-Purpose Address Registries as of 2025-10: block, globally reachable.
REGISTRY = [
    ("0.0.0.0/8", False),
    ("0.0.0.0/32", False),
    ("10.0.0.0/8", False),
    ("100.64.0.0/10", False),
    ("127.0.0.0/8", False),
    ("169.254.0.0/16", False),
    ("172.16.0.0/12", False),
    ("192.0.0.0/24", False),
    ("192.0.0.0/29", False),
    ("192.0.0.8/32", False),
    ("192.0.0.9/32", True),
    ("192.0.0.10/32", True),
    ("192.0.0.170/32", False),
    ("192.0.0.171/32", False),
    ("192.0.2.0/24", False),
    ("192.31.196.0/24", True),
    ("192.52.193.0/24", True),
    ("192.88.99.0/24", None),
    ("192.168.0.0/16", False),
    ("192.175.48.0/24", True),
    ("198.18.0.0/15", False),
    ("198.51.100.0/24", False),
    ("203.0.113.0/24", False),
    ("240.0.0.0/4", False),
    ("255.255.255.255/32", False),
    ("::1/128", False),
    ("::/128", False),
    ("::ffff:0:0/96", False),
    ("64:ff9b::/96", True),
    ("64:ff9b:1::/48", False),
    ("100::/64", False),
    ("100:0:0:1::/64", False),
    ("2001::/23", False),
    ("2001::/32", None),
    ("2001:1::1/128", True),
    ("2001:1::2/128", True),
    ("2001:1::3/128", True),
    ("2001:2::/48", False),
    ("2001:3::/32", True),
    ("2001:4:112::/48", True),
    ("2001:10::/28", None),
    ("2001:20::/28", True),
    ("2001:30::/28", True),
    ("2001:db8::/32", False),
    ("2002::/16", None),
    ("2620:4f:8000::/48", True),
    ("3fff::/20", False),
    ("5f00::/16", False),
    ("fc00::/7", False),
    ("fe80::/10", False),
]
METADATA_SERVICES = [
    "169.254.169.254",  # AWS, Azure, Google, OpenStack, DigitalOcean
    "169.254.170.2",  # credentials of AWS's containers
    "100.100.100.200",  # Alibaba
    "168.63.129.16",  # Azure's platform service
    "192.0.0.192",  # Oracle, before 2020
    "fd00:ec2::254",  # AWS
    "fd20:ce::254",  # Google
    "fe80::a9fe:a9fe",  # OpenStack
]


@pytest.mark.parametrize("block", [block for block, _ in REGISTRY])
def test_no_special_block_is_public(block: str) -> None:
    """Its first and last address: what is special purpose serves no images."""
    network = ip_network(block)
    assert not is_public(network[0])
    assert not is_public(network[-1])


def test_every_row_of_ours_has_a_source() -> None:
    """A row is of the registries, or multicast, or of a platform."""
    others = {"224.0.0.0/4", "168.63.129.16/32", "::/96", "fec0::/10", "ff00::/8"}
    known = {ip_network(block) for block in {*others, *(block for block, _ in REGISTRY)}}

    assert {*IPV4_SPECIAL, *IPV6_SPECIAL} <= known


@pytest.mark.parametrize("text", METADATA_SERVICES)
def test_metadata_services_are_not_public(text: str) -> None:
    """They hand out credentials to what asks from this machine."""
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("network", [*IPV4_SPECIAL, *IPV6_SPECIAL], ids=str)
def test_the_addresses_around_a_block(network: IPv4Network | IPv6Network) -> None:
    """A block is as large as it says: its neighbours are public unless another row has them."""
    everything: list[IPv4Network | IPv6Network] = [*IPV4_SPECIAL, *IPV6_SPECIAL]
    for number in (int(network[0]) - 1, int(network[-1]) + 1):
        if not 0 <= number < 2**network.max_prefixlen:
            continue
        neighbour: Address = IPv4Address(number) if network.version == 4 else IPv6Address(number)
        is_other = any(
            neighbour in other for other in everything if other.version == neighbour.version
        )
        is_unicast = neighbour.version == 4 or neighbour in IPv6Network("2000::/3")
        assert is_public(neighbour) is (is_unicast and not is_other)


@pytest.mark.parametrize(
    ("text", "allow", "may"),
    [
        ("64:ff9b::808:808", [], False),
        ("64:ff9b::808:808", ["64:ff9b::/96"], True),
        ("64:ff9b::7f00:1", ["64:ff9b::/96"], False),
        ("64:ff9b::a9fe:a9fe", ["64:ff9b::/96"], False),
        ("64:ff9b::a00:1", ["64:ff9b::/96"], False),
        ("64:ff9b::a00:1", ["64:ff9b::/96", "10.0.0.0/8"], True),
    ],
)
def test_behind_nat64(text: str, allow: list[str], *, may: bool) -> None:
    """Allowing the gateway allows the public internet behind it, and nothing more."""
    assert may_be_reached(ip_address(text), [ip_network(one) for one in allow]) is may


def test_addresses_within_nat64() -> None:
    """The last four bytes (RFC 6052, 2.1)."""
    assert nat64_target(ip_address("64:ff9b::c000:221")) == ip_address("192.0.2.33")
    assert nat64_target(ip_address("64:ff9c::c000:221")) is None
    assert nat64_target(ip_address("192.0.2.33")) is None


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("127.0.0.1", True),
        ("127.255.255.255", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("128.0.0.1", False),
        ("126.255.255.255", False),
        ("::2", False),
        ("::ffff:10.0.0.1", False),
        ("0.0.0.0", False),
    ],
)
def test_loopback(text: str, *, local: bool) -> None:
    """Addresses that only this machine reaches."""
    assert is_loopback(ip_address(text)) is local


def test_no_verdict_asks_the_standard_library() -> None:
    """What ``ipaddress`` calls global, private or loopback changes between patch releases."""
    asks = re.compile(
        r"\.is_(global|private|loopback|multicast|reserved|link_local|site_local|unspecified)\b"
    )
    found = {
        path.name
        for path in Path(imaged.__file__).parent.rglob("*.py")
        if asks.search(path.read_text())
    }

    assert not found
