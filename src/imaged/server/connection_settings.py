"""Limits of connections: time, memory and number."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from imaged.core.limits import KIB


@dataclass(frozen=True, slots=True)
class MinimumRate:
    """The slowest average rate over a window. 0 bytes per second disables the limit."""

    bytes_per_second: int = 1 * KIB
    window: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """Limits of the connections of one server. ``[api]`` in the configuration gives the reasons."""

    max_connections: int = 2048
    max_connections_per_address: int = 1536
    header_timeout: timedelta = timedelta(seconds=15)
    max_header_bytes: int = 32 * KIB
    min_rate: MinimumRate = field(default_factory=MinimumRate)
    idle_timeout: timedelta = timedelta(seconds=75)
    linger: timedelta = timedelta(seconds=2)
