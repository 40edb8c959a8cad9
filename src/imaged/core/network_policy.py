"""Which addresses a fetch may connect to, judged by the address of the actual connection.

Only public addresses are allowed by default: otherwise users could reach, through this server,
hosts that trust it. The tables are in ``core/special_addresses``.
"""

from __future__ import annotations

from collections.abc import Collection

from imaged.core.special_addresses import (
    Address,
    Network,
    is_special,
    nat64_target,
    without_ipv4_mapping,
)

__all__ = ["Address", "Network", "is_public", "may_be_reached"]


def may_be_reached(address: Address, allow: Collection[Network]) -> bool:
    """Whether a fetch may connect to it: public, or in a network that the operator allows.

    If the operator allows NAT64, the embedded IPv4 address is checked as well.
    """
    address = without_ipv4_mapping(address)
    if not any(address in network for network in allow):
        return is_public(address)
    inner = nat64_target(address)
    return inner is None or may_be_reached(inner, allow)


def is_public(address: Address) -> bool:
    """Whether it leads to exactly one host of the public internet."""
    return not is_special(without_ipv4_mapping(address))
