"""Where an Image API is, and what each request to it begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(slots=True)
class Endpoint:
    """An address without TLS, which would be what is measured."""

    host: str
    port: int
    prefix: str = ""
    headers: Sequence[str] = ()
    keeps_alive: bool = True  # a server that closes after each answer is told of by ``probe``

    def head(self, method: str, path: str, *more: str) -> bytes:
        """The head of a request."""
        lines = [
            f"{method} {self.prefix}{path} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            *self.headers,
            *more,
        ]
        return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def endpoint(url: str, headers: Sequence[str] = ()) -> Endpoint:
    """Read the URL before ``/v2``. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{url} is no URL like http://127.0.0.1:9292")
    prefix = parts.path.rstrip("/").removesuffix("/v2")
    return Endpoint(parts.hostname, parts.port or 80, prefix, tuple(headers))
