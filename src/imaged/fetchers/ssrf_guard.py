"""The last check before a connection is made, of the address itself.

A name may resolve to another address a moment later, and ``http://2130706433/`` means 127.0.0.1. So
the check is made where the socket is created, on the address that it will connect to.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from ipaddress import ip_address
from typing import Any

from imaged.core.network_policy import Address, Network, may_be_reached


class AddressForbidden(OSError):
    """Connecting to this address is not allowed."""


class SsrfGuard:
    """Creates the sockets of one fetch, for allowed addresses only."""

    def __init__(self, allow: Collection[Network]) -> None:
        self._allow = allow
        self._has_refused = False
        self._has_made = False

    @property
    def refused_every_address(self) -> bool:
        """Whether there were addresses and none was allowed."""
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
    """Parse an address of ``getaddrinfo``; a link-local one has its zone after ``%``."""
    return ip_address(text.partition("%")[0])
