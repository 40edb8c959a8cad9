"""Which addresses a fetch may connect to, judged by the address of the actual connection.

Only public addresses are allowed by default: otherwise users could reach, through this server,
hosts that trust it.

The tables have the networks that do not lead to exactly one host of the public internet. They
restate IANA's registries of special-purpose addresses (RFC 6890, RFC 8190), with multicast (RFC
5771, RFC 4291) and the metadata services of clouds that use other addresses. They are kept here
because the results of ``ipaddress`` (such as ``is_global``) change between patch releases of
Python, and a filter must not.

Some rows are globally reachable by the registry, such as anycast relays. They are listed too: none
of them is an image server, and most lead to the nearest router that responds.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
LOOPBACK_V4 = IPv4Network("127.0.0.0/8")
LOOPBACK_V6 = IPv6Address("::1")

IPV4_SPECIAL = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network (RFC 791)
        "10.0.0.0/8",  # private use (RFC 1918)
        "100.64.0.0/10",  # shared address space (RFC 6598); Alibaba's metadata service is in it
        "127.0.0.0/8",  # loopback (RFC 1122)
        "169.254.0.0/16",  # link-local (RFC 3927); the metadata service of most clouds
        "172.16.0.0/12",  # private use (RFC 1918)
        "192.0.0.0/24",  # protocol assignments (RFC 6890); Oracle's older metadata service
        "192.0.2.0/24",  # documentation (RFC 5737)
        "192.31.196.0/24",  # AS112 (RFC 7535)
        "192.52.193.0/24",  # AMT relays (RFC 7450)
        "192.88.99.0/24",  # formerly 6to4 relays (RFC 7526)
        "192.168.0.0/16",  # private use (RFC 1918)
        "192.175.48.0/24",  # AS112 (RFC 7534)
        "198.18.0.0/15",  # benchmarks (RFC 2544)
        "198.51.100.0/24",  # documentation (RFC 5737)
        "203.0.113.0/24",  # documentation (RFC 5737)
        "224.0.0.0/4",  # multicast (RFC 5771)
        "240.0.0.0/4",  # reserved, and limited broadcast (RFC 1112, RFC 8190)
        "168.63.129.16/32",  # the platform service of Azure, at a public-looking address
    )
)

IPV6_GLOBAL_UNICAST = IPv6Network("2000::/3")  # allocated by IANA to hosts (RFC 4291, 2.4)

IPV6_SPECIAL = tuple(
    IPv6Network(network)
    for network in (
        "::/128",  # unspecified (RFC 4291)
        "::1/128",  # loopback (RFC 4291)
        "::/96",  # formerly IPv4-compatible (RFC 4291, 2.5.5.1)
        "::ffff:0:0/96",  # IPv4-mapped (RFC 4291); judged by the IPv4 address in it
        "64:ff9b::/96",  # NAT64: holds an IPv4 address (RFC 6052)
        "64:ff9b:1::/48",  # NAT64 of one network (RFC 8215)
        "100::/64",  # discard (RFC 6666)
        "100:0:0:1::/64",  # dummy prefix (RFC 9780)
        "2001::/23",  # protocol assignments (RFC 2928): Teredo, ORCHID, benchmarks, relays …
        "2001:db8::/32",  # documentation (RFC 3849)
        "2002::/16",  # 6to4: holds an IPv4 address (RFC 3056)
        "2620:4f:8000::/48",  # AS112 (RFC 7534)
        "3fff::/20",  # documentation (RFC 9637)
        "5f00::/16",  # segment routing (RFC 9602)
        "fc00::/7",  # unique local (RFC 4193); metadata services of AWS and Google are in it
        "fe80::/10",  # link-local (RFC 4291); the metadata service of OpenStack
        "fec0::/10",  # formerly site-local (RFC 3879)
        "ff00::/8",  # multicast (RFC 4291)
    )
)

NAT64 = IPv6Network("64:ff9b::/96")


def may_be_reached(address: Address, allow: Collection[Network]) -> bool:
    """Whether a fetch may connect to it: public, or in a network that the operator allows.

    If the operator allows NAT64, the embedded IPv4 address is checked as well.
    """
    address = _without_ipv4_mapping(address)
    if not any(address in network for network in allow):
        return is_public(address)
    inner = nat64_target(address)
    return inner is None or may_be_reached(inner, allow)


def is_public(address: Address) -> bool:
    """Whether it leads to exactly one host of the public internet."""
    return not _is_special(_without_ipv4_mapping(address))


def is_loopback(address: Address) -> bool:
    """Whether the address leads to this machine and is reachable from no other."""
    address = _without_ipv4_mapping(address)
    if isinstance(address, IPv4Address):
        return address in LOOPBACK_V4
    return address == LOOPBACK_V6


def nat64_target(address: Address) -> IPv4Address | None:
    """The IPv4 address that a NAT64 gateway connects to; None for all others (RFC 6052, 2.1)."""
    if isinstance(address, IPv6Address) and address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def _is_special(address: Address) -> bool:
    """Whether the address is in a table of this module, or is not allocated to hosts."""
    if isinstance(address, IPv4Address):
        return any(address in network for network in IPV4_SPECIAL)
    return address not in IPV6_GLOBAL_UNICAST or any(address in network for network in IPV6_SPECIAL)


def _without_ipv4_mapping(address: Address) -> Address:
    """The IPv4 address in ``::ffff:a.b.c.d``, to which the kernel connects (RFC 4291, 2.5.5.2)."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
