"""Rejects requests that two HTTP parsers could read differently (request smuggling).

llhttp itself rejects: Content-Length beside Transfer-Encoding, repeated, or not only digits; bare
CR and LF, folded lines, control characters, spaces before a colon; chunk sizes that are not
numbers. This module rejects the rest. Section numbers are those of RFC 9112.
"""

from __future__ import annotations

from collections.abc import Iterable

HTTP_VERSIONS = frozenset({"1.0", "1.1"})

Header = tuple[bytes, bytes]


def framing_error(
    method: bytes, target: bytes, version: str, headers: Iterable[Header]
) -> str | None:
    """Return why a request is ambiguous, or None. Header names are lower-case."""
    if version not in HTTP_VERSIONS:
        return "The HTTP version must be 1.0 or 1.1."
    if method == b"CONNECT":  # RFC 9110, section 9.3.6: for proxies
        return "This server is not a proxy."
    return _target_error(method, target) or _header_error(version, list(headers))


def without_upgrade(method: bytes, target: bytes, version: str, headers: Iterable[Header]) -> bytes:
    """Serialize the request's header again, without its Upgrade field."""
    lines = [b"%s %s HTTP/%s" % (method, target, version.encode())]
    lines += [b"%s: %s" % header for header in headers if header[0] != b"upgrade"]
    return b"\r\n".join([*lines, b"", b""])


def _target_error(method: bytes, target: bytes) -> str | None:
    if b"#" in target or b"\\" in target:  # 3.2: neither is allowed
        return "The request target contains a forbidden character."
    is_path = target.startswith(b"/")
    is_whole = target.lower().startswith((b"http://", b"https://"))  # 3.2.2
    if not (is_path or is_whole or (method == b"OPTIONS" and target == b"*")):
        return "The request target must be a path."
    return None


def _header_error(version: str, headers: list[Header]) -> str | None:
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (version == "1.1" and not hosts):  # 3.2
        return "The request must have exactly one Host header."
    encodings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if encodings and (version == "1.0" or encodings != [b"chunked"]):  # 6.1
        return "Transfer-Encoding must be chunked, once, and requires HTTP/1.1."
    return None
