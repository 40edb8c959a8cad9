"""What two readers could take for two different requests is refused, whatever the parser thinks.

The parser refuses by itself: a Content-Length beside a Transfer-Encoding, twice, or with anything
but digits; bare CR and LF, folded lines, control characters, spaces before a colon; chunks whose
size is no number. What it lets pass is here. The sections are those of RFC 9112.
"""

from __future__ import annotations

from collections.abc import Iterable

HTTP_VERSIONS = frozenset({"1.0", "1.1"})

Header = tuple[bytes, bytes]


def framing_error(
    method: bytes, target: bytes, version: str, headers: Iterable[Header]
) -> str | None:
    """Why a request cannot be read in one way only; None where it can. Names are lower-case."""
    if version not in HTTP_VERSIONS:
        return "The version of HTTP must be 1.0 or 1.1."
    if method == b"CONNECT":  # 9110, 9.3.6: for proxies
        return "This is no proxy."
    return _target_error(method, target) or _header_error(version, list(headers))


def without_upgrade(method: bytes, target: bytes, version: str, headers: Iterable[Header]) -> bytes:
    """The header of a request again, without its offer to upgrade."""
    lines = [b"%s %s HTTP/%s" % (method, target, version.encode())]
    lines += [b"%s: %s" % header for header in headers if header[0] != b"upgrade"]
    return b"\r\n".join([*lines, b"", b""])


def _target_error(method: bytes, target: bytes) -> str | None:
    if b"#" in target or b"\\" in target:  # 3.2: neither may stand there
        return "The address has a character that it may not have."
    is_path = target.startswith(b"/")
    is_whole = target.lower().startswith((b"http://", b"https://"))  # 3.2.2
    if not (is_path or is_whole or (method == b"OPTIONS" and target == b"*")):
        return "The address must be a path."
    return None


def _header_error(version: str, headers: list[Header]) -> str | None:
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (version == "1.1" and not hosts):  # 3.2
        return "There must be one header Host."
    encodings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if encodings and (version == "1.0" or encodings != [b"chunked"]):  # 6.1
        return "The only Transfer-Encoding is chunked, once, and in HTTP/1.1."
    return None
