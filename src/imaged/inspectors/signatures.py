"""Recognises, by their first bytes, files that are often uploaded in place of a disk.

Sources: RFC 1952 (gzip), RFC 8878 (zstd), the .xz and LZ4 frame formats, bzip2, PKWARE's APPNOTE
(zip), 7zFormat.txt, POSIX (ustar), and the WHATWG's MIME sniffing standard for HTML.
"""

from __future__ import annotations

from collections.abc import Sequence

from imaged.core.lookalike import Lookalike

_SIGNATURES: Sequence[tuple[int, bytes, Lookalike]] = (
    (0, b"\x1f\x8b\x08", Lookalike.GZIP),
    (0, b"\xfd7zXZ\0", Lookalike.XZ),
    (0, b"\x28\xb5\x2f\xfd", Lookalike.ZSTD),
    (4, b"1AY&SY", Lookalike.BZIP2),
    (0, b"\x04\x22\x4d\x18", Lookalike.LZ4),
    (0, b"PK\x03\x04", Lookalike.ZIP),
    (0, b"7z\xbc\xaf\x27\x1c", Lookalike.SEVEN_ZIP),
    (257, b"ustar", Lookalike.TAR),
)
_HTML_WITHIN_BYTES = 512
_HTML = (b"<!doctype html", b"<html")
_BEFORE_HTML = b"\xef\xbb\xbf \t\r\n\x0c"  # a byte order mark, and white space


def find_lookalike(head: bytes) -> Lookalike | None:
    """The kind of data that begins so; None for what may be a disk."""
    for at, mark, lookalike in _SIGNATURES:
        if head[at : at + len(mark)] == mark:
            return lookalike
    text = head[:_HTML_WITHIN_BYTES].lstrip(_BEFORE_HTML).lower()
    return Lookalike.HTML if text.startswith(_HTML) else None
