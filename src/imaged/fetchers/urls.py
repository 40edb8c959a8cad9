"""What a URL must be like before anybody connects, at every hop.

One parser only, that of the client which makes the request: two parsers that disagree about a host
are how filters are walked around.
"""

from __future__ import annotations

from ipaddress import ip_address

from yarl import URL

from imaged.core.destinations import may_be_reached
from imaged.core.errors import FetchRefused
from imaged.fetchers.settings import FetchSettings

SCHEMES = ("http", "https")
LONGEST_URL = 4096  # characters


def parse_url(text: str, settings: FetchSettings) -> URL:
    """The URL, if it may be asked for. Raises FetchRefused."""
    if len(text) > LONGEST_URL:
        raise FetchRefused("a URL", "address", f"it is longer than {LONGEST_URL} characters")
    try:
        url = URL(text)
    except ValueError as error:
        raise FetchRefused("a URL", "address", "it is not one that can be understood") from error
    require_fetchable(url, settings)
    return url


def require_fetchable(url: URL, settings: FetchSettings) -> None:
    """Look at all that can be seen without asking anybody. Raises FetchRefused."""
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
            raise _refused(
                url, "it is an IPv4 address in a form of its own: write a.b.c.d"
            ) from None
        return  # a name: what it resolves to is looked at when it is connected to
    if not may_be_reached(address, settings.allow):
        raise _refused(url, NOT_PUBLIC)


NOT_PUBLIC = "its address is not public, and not in fetch.allow"


def host_of(url: URL) -> str:
    """How people are told which host it was: never with credentials, path or query."""
    if not url.host:
        return "a URL"
    host = url.host_subcomponent or url.host
    return host if url.is_default_port() else f"{host}:{url.port}"


def _refused(url: URL, why: str) -> FetchRefused:
    return FetchRefused(host_of(url), "address", why)
