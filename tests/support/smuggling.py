"""Requests that smuggle: two readers in a row could see two different ones in them.

Each is followed by a second request on the same connection, which must not be answered.
"""

from __future__ import annotations

from collections.abc import Mapping

HOST = b"Host: localhost\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
SMUGGLED = b"GET /v2/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(headers: bytes, body: bytes = b"", host: bytes = HOST) -> bytes:
    """A request with a body."""
    head = b"POST /v2/images HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\n"
    return head + headers + b"\r\n" + body


def get(target: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    """A request without one."""
    return b"GET " + target + b" " + version + b"\r\n" + HOST + b"\r\n"


def chunks(body: bytes) -> bytes:
    """A chunked body."""
    return post(CHUNKED, body)


LENGTHS: Mapping[str, bytes] = {
    "chunked, then a length": post(CHUNKED + b"Content-Length: 4\r\n", b"0\r\n\r\n"),
    "a length, then chunked": post(b"Content-Length: 4\r\n" + CHUNKED, b"0\r\n\r\n"),
    "a length of 0, then chunked": post(b"Content-Length: 0\r\n" + CHUNKED, b"0\r\n\r\n"),
    "the same length twice": post(b"Content-Length: 3\r\n" * 2, b"abc"),
    "two lengths": post(b"Content-Length: 3\r\nContent-Length: 4\r\n", b"abc"),
    "two lengths in one": post(b"Content-Length: 3, 4\r\n", b"abc"),
    "one length twice in one": post(b"Content-Length: 3, 3\r\n", b"abc"),
    "a length with a plus": post(b"Content-Length: +3\r\n", b"abc"),
    "a negative length": post(b"Content-Length: -3\r\n", b"abc"),
    "a length in hex": post(b"Content-Length: 0x3\r\n", b"abc"),
    "a length with an underscore": post(b"Content-Length: 1_0\r\n", b"abc"),
    "an empty length": post(b"Content-Length: \r\n", b"abc"),
    "a length beyond 64 bits": post(b"Content-Length: 18446744073709551619\r\n", b"abc"),
    "a space before the colon of a length": post(b"Content-Length : 3\r\n", b"abc"),
}
ENCODINGS: Mapping[str, bytes] = {
    "a space before the colon": post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
    "a vertical tab": post(b"Transfer-Encoding:\x0bchunked\r\n", b"0\r\n\r\n"),
    "almost chunked": post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
    "chunked is not the last": post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"),
    "one before chunked": post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
    "identity": post(b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n"),
    "chunked twice": post(CHUNKED * 2, b"0\r\n\r\n"),
    "chunked in a folded line": post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"),
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
}
LINES: Mapping[str, bytes] = {
    "bare LF everywhere": b"GET /livez HTTP/1.1\nHost: localhost\n\n",
    "bare LF behind a header": post(b"X: a\nContent-Length: 0\r\n"),
    "bare LF at the end of the header": b"GET /livez HTTP/1.1\r\n" + HOST + b"\n",
    "bare CR in a header": post(b"X: a\rContent-Length: 0\r\n"),
    "a folded line": post(b"X: a\r\n b\r\n"),
    "a folded first line": post(b" X: a\r\n"),
    "NUL in a value": post(b"X: a\0b\r\n"),
    "NUL in a name": post(b"X\0: a\r\n"),
    "a control character in a value": post(b"X: a\x01b\r\n"),
    "a header without a name": post(b": a\r\n"),
    "a header without a colon": post(b"X a\r\n"),
    "a space in a name": post(b"X Y: a\r\n"),
}
TARGETS: Mapping[str, bytes] = {
    "no host": post(b"", host=b""),
    "two hosts": post(HOST),
    "no version": b"GET /livez\r\n\r\n",
    "version 2.0": get(b"/livez", b"HTTP/2.0"),
    "version 1.2": get(b"/livez", b"HTTP/1.2"),
    "version 0.9": get(b"/livez", b"HTTP/0.9"),
    "a small version": get(b"/livez", b"http/1.1"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a handshake of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a fragment": get(b"/livez#a"),
    "a backslash": get(b"/..\\livez"),
    "a space in the address": get(b"/livez /readyz"),
    "a tab in the address": get(b"/livez\t"),
    "NUL in the address": get(b"/livez\0"),
    "bytes in the address": get(b"/\xff"),
    "an asterisk": get(b"*"),
    "a tunnel": b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a small method": b"get /livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "an unknown method": b"SMUGGLE /livez HTTP/1.1\r\n" + HOST + b"\r\n",
}
CHUNKS: Mapping[str, bytes] = {
    "bare LF behind a size": chunks(b"3\nabc\r\n0\r\n\r\n"),
    "bare LF behind a chunk": chunks(b"3\r\nabc\n0\r\n\r\n"),
    "CR CR behind a size": chunks(b"3\r\rabc\r\n0\r\n\r\n"),
    "nothing behind a chunk": chunks(b"3\r\nabc0\r\n\r\n"),
    "a chunk longer than its size": chunks(b"3\r\nabcd\r\n0\r\n\r\n"),
    "a space behind a size": chunks(b"3 \r\nabc\r\n0\r\n\r\n"),
    "a space before a size": chunks(b" 3\r\nabc\r\n0\r\n\r\n"),
    "a size with 0x": chunks(b"0x3\r\nabc\r\n0\r\n\r\n"),
    "a negative size": chunks(b"-3\r\nabc\r\n0\r\n\r\n"),
    "a size with a plus": chunks(b"+3\r\nabc\r\n0\r\n\r\n"),
    "an empty size": chunks(b"\r\nabc\r\n0\r\n\r\n"),
    "a size beyond 64 bits": chunks(b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    "bare LF in an extension": chunks(b"3;a\nb\r\nabc\r\n0\r\n\r\n"),
    "an open quote in an extension": chunks(b'3;a="b\r\nabc\r\n0\r\n\r\n'),
    "NUL in an extension": chunks(b"3;\0\r\nabc\r\n0\r\n\r\n"),
    "a length among the trailers": chunks(b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n"),
    "a space in a trailer's name": chunks(b"3\r\nabc\r\n0\r\nX : a\r\n\r\n"),
    "bare LF at the end": chunks(b"3\r\nabc\r\n0\r\n\n"),
}
SHAPES: Mapping[str, bytes] = {**LENGTHS, **ENCODINGS, **LINES, **TARGETS, **CHUNKS}
