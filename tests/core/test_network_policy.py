"""Which addresses a fetch may connect to."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaged.core.network_policy import is_public, may_be_reached

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "198.17.255.255",
    "198.20.0.1",
    "::ffff:8.8.8.8",
    "2606:4700:4700::1111",
    "2a00:1450:4001:829::200e",
]
INSIDE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::7f00:1",
    "100::1",
    "2001::7f00:1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "fc00::1",
    "fd12:3456:789a::1",
    "3fff::1",
    "4000::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
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
