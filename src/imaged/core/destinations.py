"""Where bytes may be fetched from, by the address that is really connected to.

An address is public, or it is refused: whoever may ask for a fetch could otherwise talk, through
us, to what trusts this machine. What ``ipaddress`` calls global is not enough: some of it leads
back inside, because it holds an IPv4 address of its own (RFC 6052, RFC 3056, RFC 4380) or was never
given out (IANA's registries of special-purpose addresses).
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

GIVEN_OUT = IPv6Network("2000::/3")  # all of IPv6 that belongs to single hosts (RFC 4291, 2.4)

MISLEADING: tuple[Network, ...] = (
    IPv4Network("192.88.99.0/24"),  # once the way into 6to4
    IPv6Network("2001::/23"),  # Teredo, an IPv4 address in the middle, and other protocols
    IPv6Network("2002::/16"),  # 6to4: an IPv4 address at the beginning
    IPv6Network("3fff::/20"),  # for documentation
)


def may_be_reached(address: Address, allow: Collection[Network]) -> bool:
    """Whether a fetch may connect to it: public, or in a network that the operator allows."""
    address = _unwrapped(address)
    return any(address in network for network in allow) or is_public(address)


def is_public(address: Address) -> bool:
    """Whether it leads to one host of the public internet, and nowhere else."""
    address = _unwrapped(address)
    return (
        address.is_global
        and not address.is_multicast
        and (isinstance(address, IPv4Address) or address in GIVEN_OUT)
        and not any(address in network for network in MISLEADING)
    )


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that ``::ffff:a.b.c.d`` stands for: the kernel connects to that one."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
