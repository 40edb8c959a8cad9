"""Requests that web pages make a browser send, without authentication."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from imaged.api.allowed_hosts import AllowedHosts
from imaged.api.http_errors import CrossSiteRefused, HostRefused

LOCAL = AllowedHosts()
PUBLIC = AllowedHosts("https://images.example.org:8443/api")
NETWORKED = AllowedHosts(bound=frozenset({"controller.lan"}), any_address=True)

OWN = [
    (LOCAL, {}),  # HTTP/1.0
    (LOCAL, {"host": "localhost"}),
    (LOCAL, {"host": "LocalHost:9292"}),
    (LOCAL, {"host": "localhost."}),
    (LOCAL, {"host": "127.0.0.1:9292"}),
    (LOCAL, {"host": "127.9.9.9"}),
    (LOCAL, {"host": "[::1]:9292"}),
    (LOCAL, {"host": "imaged"}),
    (LOCAL, {"host": "localhost", "sec-fetch-site": "none"}),
    (LOCAL, {"host": "localhost:9292", "origin": "http://localhost:9292"}),
    (LOCAL, {"host": "localhost", "sec-fetch-site": "same-origin"}),
    (PUBLIC, {"host": "images.example.org"}),
    (PUBLIC, {"host": "127.0.0.1", "origin": "https://images.example.org:8443"}),
    (NETWORKED, {"host": "192.0.2.7:9292"}),
    (NETWORKED, {"host": "[2001:db8::7]"}),
    (NETWORKED, {"host": "controller.lan:9292"}),
]
STRANGE_HOSTS = [
    (LOCAL, "evil.example"),
    (LOCAL, "evil.example:9292"),
    (LOCAL, "localhost.evil.example"),
    (LOCAL, "127.0.0.1.evil.example"),
    (LOCAL, "evil.example.:9292"),
    (LOCAL, "192.0.2.7"),
    (LOCAL, "0.0.0.0:9292"),
    (LOCAL, "[::ffff:192.0.2.7]"),
    (LOCAL, "images.example.org"),
    (LOCAL, "evil.example@localhost"),
    (LOCAL, "localhost/evil.example"),
    (LOCAL, "localhost evil.example"),
    (LOCAL, "controller.lan"),
    (LOCAL, ""),
    (PUBLIC, "evil.example.org"),
    (NETWORKED, "evil.example"),
]
OTHER_SITES = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": ""},
    {"origin": "http://localhost:3000"},
    {"origin": "https://localhost:9292"},
    {"origin": "http://localhost:9292.evil.example"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "anything"},
]


@pytest.mark.parametrize(("names", "headers"), OWN)
def test_programs_and_own_pages(names: AllowedHosts, headers: dict[str, str]) -> None:
    """They are heard."""
    names.require_allowed(Headers(headers))


@pytest.mark.parametrize(("names", "host"), STRANGE_HOSTS)
def test_a_name_that_a_page_could_have(names: AllowedHosts, host: str) -> None:
    """A page may let its own name lead here (DNS rebinding), and its browser tells the name."""
    with pytest.raises(HostRefused, match="public_url"):
        names.require_allowed(Headers({"host": host}))


@pytest.mark.parametrize("headers", OTHER_SITES)
@pytest.mark.parametrize("names", [LOCAL, PUBLIC, NETWORKED])
def test_other_sites(names: AllowedHosts, headers: dict[str, str]) -> None:
    """Their forms and scripts reach this machine, and the browser names their origin."""
    with pytest.raises(CrossSiteRefused, match=next(iter(headers)).title()):
        names.require_allowed(Headers({"host": "localhost:9292", **headers}))


def test_a_page_under_a_name_without_a_dot() -> None:
    """Such a name may resolve to this host, and pages under it are foreign."""
    with pytest.raises(CrossSiteRefused):
        LOCAL.require_allowed(Headers({"host": "x:9292", "origin": "http://x:9292"}))


def test_the_last_of_several_headers_counts_too() -> None:
    """A hidden second one changes nothing."""
    raw = [
        (b"host", b"localhost"),
        (b"origin", b"http://localhost"),
        (b"origin", b"http://evil.test"),
    ]
    with pytest.raises(CrossSiteRefused):
        LOCAL.require_allowed(Headers(raw=raw))
