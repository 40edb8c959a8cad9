"""Checks what is requested before a connection is made: each URL at every hop, and each address.

URLs. One parser reads the host, that of the HTTP client: if two parsers disagree about a host, a
filter can be bypassed. Path and query are not parsed. They are sent as they were written (RFC 9112,
3.2.1), because a signed URL is valid for its exact bytes.

Addresses. A name may resolve to another address a moment later, and ``http://2130706433/`` means
127.0.0.1. So the last check is made where the socket is created, on the address that it will
connect to.
"""

from __future__ import annotations

import re
import socket
import unicodedata
from collections.abc import Collection
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, urljoin

from yarl import URL

from imaged.core.errors import FetchRefused
from imaged.core.network_policy import Address, Network, may_be_reached
from imaged.fetchers.fetch_settings import FetchSettings

SCHEMES = ("http", "https")
MAX_URL_LENGTH = 4096  # characters
NOT_PUBLIC = "its address is not public, and not in fetch.allow"
_PARTS = re.compile(
    r"(?P<origin>[a-z][a-z0-9+.-]*://[^/?#]*)(?P<target>[^#]*)(#.*)?", re.IGNORECASE
)
_ASCII = "".join(map(chr, range(0x21, 0x7F)))


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


def parse_url(text: str, settings: FetchSettings) -> URL:
    """The URL, if it may be requested. Raises FetchRefused."""
    if len(text) > MAX_URL_LENGTH:
        raise FetchRefused("a URL", "address", f"it is longer than {MAX_URL_LENGTH} characters")
    url = parse_unchanged(text)
    require_allowed_url(url, settings)
    return url


def require_allowed_url(url: URL, settings: FetchSettings) -> None:
    """Check all that can be checked without a connection. Raises FetchRefused."""
    if url.scheme not in SCHEMES:
        raise _refused(url, f"its scheme is {url.scheme or 'missing'}, not http or https")
    if not url.host:
        raise _refused(url, "it names no host")
    if url.user is not None or url.password is not None:
        raise _refused(url, "it carries a user name or password")
    if url.port not in settings.ports:
        allowed = ", ".join(map(str, settings.ports))
        raise _refused(url, f"port {url.port} is not one of those in fetch.ports ({allowed})")
    try:
        address = ip_address(url.host)
    except ValueError:
        if url.host.replace(".", "").isdigit():
            raise _refused(url, "it is an IPv4 address in an unusual form: write a.b.c.d") from None
        return  # a name: its addresses are checked when connecting
    if not may_be_reached(address, settings.allow):
        raise _refused(url, NOT_PUBLIC)


def redirect_target(base: URL, location: str) -> URL:
    """The target of a redirect (RFC 9110, 10.2.2). Raises FetchRefused."""
    if location.startswith("//"):
        return parse_unchanged(f"{base.scheme}:{location}")
    if location.startswith("/"):
        return parse_unchanged(f"{base.origin()}{location}")
    if _PARTS.fullmatch(location):
        return parse_unchanged(location)
    try:
        joined = urljoin(str(base), location)
    except ValueError as error:
        raise FetchRefused("a URL", "address", "it cannot be parsed") from error
    return parse_unchanged(joined)


def parse_unchanged(text: str) -> URL:
    """The URL with its path and query as written; drops its fragment.

    Spaces and non-ASCII characters, which a request cannot contain, are percent-encoded as UTF-8
    (RFC 3987, 3.1). Raises FetchRefused.
    """
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise FetchRefused("a URL", "address", "it has control characters")
    parts = _PARTS.fullmatch(text)
    try:
        if parts is None:
            return URL(text)  # no scheme or no host; the caller reports what is missing
        origin = URL(parts["origin"])
        target = quote(parts["target"], safe=_ASCII, errors="surrogateescape")
    except ValueError as error:
        raise FetchRefused("a URL", "address", "it cannot be parsed") from error
    if not origin.raw_host:
        return origin
    if not target.startswith("/"):
        target = f"/{target}"
    return URL.build(  # yarl drops a last "?" from a query, but leaves an encoded path alone
        scheme=origin.scheme, authority=origin.raw_authority, path=target, encoded=True
    )


def host_of(url: URL) -> str:
    """The host for messages: never with credentials, path or query."""
    if not url.host:
        return "a URL"
    host = url.host_subcomponent or url.host
    return host if url.is_default_port() else f"{host}:{url.port}"


def _refused(url: URL, why: str) -> FetchRefused:
    return FetchRefused(host_of(url), "address", why)
