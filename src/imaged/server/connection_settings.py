"""Limits of connections: time, memory and number."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


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
