"""What a connection may cost: its time, its memory, and how many there may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from imaged.core.limits import KIB


@dataclass(frozen=True, slots=True)
class MinimumRate:
    """What a client has to keep up, on the average of a window. 0 bytes per second: any pace."""

    bytes_per_second: int = 1 * KIB
    window: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """The section ``[api]`` of the configuration has the reasons."""

    max_connections: int = 2048
    max_connections_per_address: int = 1536
    header_timeout: timedelta = timedelta(seconds=15)
    max_header_bytes: int = 32 * KIB
    min_rate: MinimumRate = field(default_factory=MinimumRate)
    idle_timeout: timedelta = timedelta(seconds=75)
    linger: timedelta = timedelta(seconds=2)
