"""Parses addresses: ``127.0.0.1:9292``, ``[::1]:9292``, ``unix:/run/imaged/api.sock``."""

from __future__ import annotations

import re
from pathlib import Path

from imaged.server.settings import Address, TcpAddress, UnixAddress

_TCP_ADDRESS = re.compile(
    r"(?:\[(?P<v6>[0-9a-fA-F:.%\w]+)\]|(?P<host>[^\s:\[\]/]+)):(?P<port>\d{1,5})", re.ASCII
)
_MAX_PORT = 65_535

#: In metrics.bind: the addresses of api.bind.
API = "api"


def parse_address(text: object) -> Address:
    """Return the address; ValueError names the allowed forms."""
    if isinstance(text, str) and text.startswith("unix:/"):
        return UnixAddress(Path(text.removeprefix("unix:")))
    found = _TCP_ADDRESS.fullmatch(text) if isinstance(text, str) else None
    if found is None or int(found["port"]) > _MAX_PORT:
        raise ValueError('must be "host:port", "[IPv6 address]:port" or "unix:/path/of/a/socket"')
    return TcpAddress(found["v6"] or found["host"], int(found["port"]))


def parse_metrics_address(text: object) -> Address | str:
    """Return the address, or "api"; ValueError names the allowed forms."""
    if text == API:
        return API
    try:
        return parse_address(text)
    except ValueError as error:
        raise ValueError(f'{error}, or "api"') from None
