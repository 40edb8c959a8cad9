"""What operators set of the server: addresses to listen on, and limits of connections."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from imaged.core.network_policy import is_loopback


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


@dataclass(frozen=True, slots=True)
class MinimumRate:
    """The slowest average rate over a window. 0 bytes per second disables the limit."""

    bytes_per_second: int
    window: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """Limits of the connections of one server. ``[api]`` in the configuration gives the reasons."""

    max_connections: int
    max_connections_per_address: int
    header_timeout: timedelta
    max_header_bytes: int
    min_rate: MinimumRate
    idle_timeout: timedelta
    linger: timedelta
