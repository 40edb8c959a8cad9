"""The address of a service, and the caller's token."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from imaged.client.errors import EndpointInvalid

DEFAULT_URL = "http://127.0.0.1:9292"

_VERSION_SUFFIX = re.compile(r"/v2(\.\d+)?/?$")
_TOKEN = re.compile(r"[\x21-\x7e]+")  # what a header can hold


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A service. ``url`` has no version at its end; ``socket`` is connected to instead of it."""

    url: str
    socket: Path | None = None
    token: str | None = None
    ca_file: Path | None = None

    def __str__(self) -> str:
        return f"unix:{self.socket}" if self.socket else self.url

    def __repr__(self) -> str:
        """Show no token."""
        return f"Endpoint({str(self)!r})"


def read_endpoint(
    address: str, *, token: str | None = None, ca_file: Path | None = None
) -> Endpoint:
    """``http://host:port``, ``https://host/path`` or ``unix:/path``. Raises EndpointInvalid."""
    if token is not None and not _TOKEN.fullmatch(token):
        raise EndpointInvalid("The token has invalid characters.", "It must be one line of text.")
    if ca_file is not None and not ca_file.is_file():
        raise EndpointInvalid(f"There is no file {ca_file}.", "It must contain certificates (PEM).")
    if address.startswith("unix:/"):
        return Endpoint("http://imaged", Path(address.removeprefix("unix:")), token)
    if not _is_http(address):
        raise EndpointInvalid(
            f"{_redacted(address)} is not the address of an Image API.",
            "It must be like http://host:9292, https://host/path or unix:/path/of/a/socket.",
        )
    return Endpoint(_VERSION_SUFFIX.sub("", address).rstrip("/"), None, token, ca_file)


def read_token(file: Path) -> str:
    """Read the token from the only line of a file. Raises EndpointInvalid."""
    try:
        token = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise EndpointInvalid(
            f"The token in {file} cannot be read: {why}.", "Name a file that you may read."
        ) from error
    if not token:
        raise EndpointInvalid(f"{file} contains no token.", "Put the token into it.")
    return token


def _is_http(address: str) -> bool:
    try:
        parts = urlsplit(address)
        has_place = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    is_more = parts.query or parts.fragment or parts.username
    return parts.scheme in {"http", "https"} and has_place and not is_more


def _redacted(address: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", address)
