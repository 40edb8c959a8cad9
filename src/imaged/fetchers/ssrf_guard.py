"""The last look before a connection is made: at the address itself, whatever led to it.

A name may resolve to another address a moment later, and ``http://2130706433/`` is a way to write
127.0.0.1. So the decision is made where the socket is, with the address that it will connect to.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from ipaddress import ip_address
from typing import Any

from imaged.core.network_policy import Address, Network, may_be_reached


class AddressForbidden(OSError):
    """The address may not be connected to."""


class SsrfGuard:
    """Makes the sockets of one fetch, for addresses that it may reach."""

    def __init__(self, allow: Collection[Network]) -> None:
        self._allow = allow
        self._has_refused = False
        self._has_made = False

    @property
    def refused_every_address(self) -> bool:
        """Whether there was an address, and none that may be reached."""
        return self._has_refused and not self._has_made

    def __call__(self, address_info: tuple[Any, ...]) -> socket.socket:
        """A socket for this entry of ``getaddrinfo``. Raises AddressForbidden."""
        family, kind, protocol, _, address = address_info
        if not may_be_reached(parse_numeric_address(address[0]), self._allow):
            self._has_refused = True
            raise AddressForbidden("this address may not be reached")
        made = socket.socket(family, kind, protocol)
        made.settimeout(0)
        self._has_made = True
        return made


def parse_numeric_address(text: str) -> Address:
    """The address as ``getaddrinfo`` gives it; a link-local one has its zone behind ``%``."""
    return ip_address(text.partition("%")[0])
