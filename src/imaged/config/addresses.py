"""Addresses to listen on: ``127.0.0.1:9292``, ``[::1]:9292``, ``unix:/run/imaged/api.sock``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from imaged.core.special_addresses import is_loopback

_TCP_ADDRESS = re.compile(
    r"(?:\[(?P<v6>[0-9a-fA-F:.%\w]+)\]|(?P<host>[^\s:\[\]/]+)):(?P<port>\d{1,5})", re.ASCII
)
_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host and a port; port 0 lets the system choose a free one."""

    host: str
    port: int

    @property
    def is_local_only(self) -> bool:
        """Whether only this machine can reach it. Names other than localhost may be anywhere."""
        if self.host == "localhost":
            return True
        try:
            return is_loopback(ip_address(self.host))
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """The path of a socket."""

    path: Path
    is_local_only: bool = True

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address = TcpAddress | UnixAddress

#: Stands for the addresses that requests come in by.
API = "api"


def parse_address(text: object) -> Address:
    """Return the address. Raises ValueError with what is allowed."""
    if isinstance(text, str) and text.startswith("unix:/"):
        return UnixAddress(Path(text.removeprefix("unix:")))
    found = _TCP_ADDRESS.fullmatch(text) if isinstance(text, str) else None
    if found is None or int(found["port"]) > _MAX_PORT:
        raise ValueError('must be "host:port", "[IPv6 address]:port" or "unix:/path/of/a/socket"')
    return TcpAddress(found["v6"] or found["host"], int(found["port"]))


def parse_metrics_address(text: object) -> Address | str:
    """Return the address, or "api". Raises ValueError with what is allowed."""
    if text == API:
        return API
    try:
        return parse_address(text)
    except ValueError as error:
        raise ValueError(f'{error}, or "api"') from None
