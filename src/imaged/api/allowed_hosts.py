"""Refuses requests that a browser may have been made to send, if there is no authentication.

With ``auth.method = "none"`` being able to connect is the only permission. But any web page can
make the browser of such a user connect, too: by a form or a script (cross-site requests carry
``Origin`` or ``Sec-Fetch-Site``), or by a host name of its own that resolves to this machine (DNS
rebinding; ``Host`` has that name). Other programs send none of these, except a valid ``Host``.

A Host without a dot is accepted: no web page can have one, and containers, clients of unix sockets
and ``/etc/hosts`` use such names. It is not accepted as an Origin.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from imaged.api.http_errors import CrossSiteRefused, HostRefused
from imaged.core.network_policy import is_loopback

MAX_AUTHORITY_LENGTH = 261  # characters: a name of 253 (RFC 1035), a dot, and a port
ALLOWED_SITES = frozenset({"none", "same-origin"})  # of Sec-Fetch-Site

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%-]+)(?::\d{0,5})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The host names that are valid for a service without authentication."""

    public_url: str = ""
    bound: frozenset[str] = frozenset()  # names that the service listens on
    any_address: bool = False  # any IP address is valid: no web page has one

    def require_allowed(self, headers: Headers) -> None:
        """Refuse a request that a web page may have caused. Raises HostRefused,
        CrossSiteRefused.
        """
        host = headers.get("host")
        if host is not None and not self._is_allowed(host) and not _is_single_label(host):
            raise HostRefused(host)
        for site in headers.getlist("sec-fetch-site"):
            if site.strip().lower() not in ALLOWED_SITES:
                raise CrossSiteRefused("Sec-Fetch-Site", site)
        for origin in headers.getlist("origin"):
            if not self._is_allowed_origin(origin.strip(), host):
                raise CrossSiteRefused("Origin", origin)

    def _is_allowed(self, authority: str) -> bool:
        return len(authority) <= MAX_AUTHORITY_LENGTH and _is_allowed(self, authority)

    def _is_allowed_origin(self, origin: str, host: str | None) -> bool:
        """An origin is a scheme and an authority (RFC 6454, section 6.2)."""
        if self.public_url and origin.lower() == _origin_of(self.public_url):
            return True
        scheme, separator, authority = origin.lower().partition("://")
        if scheme != "http" or not separator or host is None:
            return False
        return authority == host.lower() and self._is_allowed(authority)


@lru_cache(maxsize=64)  # clients repeat theirs: parsing took a twentieth of a small request's time
def _is_allowed(hosts: AllowedHosts, authority: str) -> bool:
    name = _name_in(authority)
    if name is None:
        return False
    if name in {"localhost", urlsplit(hosts.public_url).hostname, *hosts.bound}:
        return True
    address = _address(name)
    if address is None:
        return False
    return hosts.any_address or is_loopback(address)


def _is_single_label(authority: str) -> bool:
    name = _name_in(authority)
    return name is not None and "." not in name and ":" not in name


def _name_in(authority: str) -> str | None:
    """The name or address, in lower case and without port; None if it is malformed."""
    match = _AUTHORITY.fullmatch(authority)
    return None if match is None else match[1].strip("[]").lower().removesuffix(".")


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(name)
    except ValueError:
        return None


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
