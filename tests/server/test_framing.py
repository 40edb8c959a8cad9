"""A table of requests that llhttp accepts and imaged rejects."""

from __future__ import annotations

import pytest

from imaged.server.request import Header, framing_error

HOST: Header = (b"host", b"images.test")
CHUNKED: Header = (b"transfer-encoding", b"chunked")

GOOD: list[tuple[bytes, bytes, str, list[Header]]] = [
    (b"GET", b"/v2/images", "1.1", [HOST]),
    (b"GET", b"/v2/images?name=a%23b", "1.0", []),
    (b"GET", b"/v2/images", "1.0", [HOST]),
    (b"GET", b"http://images.test/v2/images", "1.1", [HOST]),
    (b"GET", b"HTTPS://images.test/v2/images", "1.1", [HOST]),
    (b"OPTIONS", b"*", "1.1", [HOST]),
    (b"PUT", b"/", "1.1", [HOST, CHUNKED]),
    (b"PUT", b"/", "1.1", [HOST, (b"transfer-encoding", b"Chunked")]),
    (b"PUT", b"/", "1.1", [HOST, (b"content-length", b"3")]),
]
BAD: list[tuple[bytes, bytes, str, list[Header]]] = [
    (b"GET", b"/", "1.1", []),
    (b"GET", b"/", "1.1", [HOST, HOST]),
    (b"GET", b"/", "1.0", [HOST, HOST]),
    (b"GET", b"/", "0.9", [HOST]),
    (b"GET", b"/", "2.0", [HOST]),
    (b"GET", b"/a#b", "1.1", [HOST]),
    (b"GET", b"/a\\b", "1.1", [HOST]),
    (b"GET", b"*", "1.1", [HOST]),
    (b"GET", b"images.test:80", "1.1", [HOST]),
    (b"GET", b"file:///etc/passwd", "1.1", [HOST]),
    (b"CONNECT", b"/", "1.1", [HOST]),
    (b"PUT", b"/", "1.0", [HOST, CHUNKED]),
    (b"PUT", b"/", "1.1", [HOST, CHUNKED, CHUNKED]),
    (b"PUT", b"/", "1.1", [HOST, (b"transfer-encoding", b"gzip, chunked")]),
    (b"PUT", b"/", "1.1", [HOST, (b"transfer-encoding", b"")]),
]


@pytest.mark.parametrize("request_", GOOD, ids=repr)
def test_unambiguous_framing(
    request_: tuple[bytes, bytes, str, list[Header]],
) -> None:
    """A valid request is accepted."""
    assert framing_error(*request_) is None


@pytest.mark.parametrize("request_", BAD, ids=repr)
def test_ambiguous_framing_is_refused(
    request_: tuple[bytes, bytes, str, list[Header]],
) -> None:
    """An ambiguous request is rejected with a reason."""
    assert (framing_error(*request_) or "").endswith(".")
