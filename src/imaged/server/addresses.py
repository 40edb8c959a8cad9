"""Addresses to listen on: a host with a port, or the path of a unix socket."""

from __future__ import annotations

from dataclasses import dataclass
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
