"""The connections that there are: how many may be, and a look at each of them once a second.

One look over all instead of a timer for each: a transfer costs nothing by being watched. While the
process itself stands still, or is not given the processor, no client is late.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from ipaddress import IPv6Address
from typing import Protocol

import structlog
from uvicorn.server import ServerState

from imaged.server.connection_settings import ConnectionSettings

log = structlog.get_logger()

CHECK_INTERVAL_SECONDS = 1.0
LOG_INTERVAL_SECONDS = 60.0
_NETWORK_GROUPS = 4  # of an IPv6 address: a machine has all that follow to itself


class CloseReason(StrEnum):
    """Why we ended a connection, or would not have it."""

    FULL = "full"  # max_connections
    CROWDED = "crowded"  # max_connections_per_address
    SLOW_HEADER = "slow_header"
    LARGE_HEADER = "large_header"
    MALFORMED = "malformed"
    PIPELINED = "pipelined"  # too many requests that wait for the answers before theirs
    SLOW_BODY = "slow_body"
    SLOW_READER = "slow_reader"
    IDLE = "idle"


REFUSAL_REASONS = frozenset({CloseReason.FULL, CloseReason.CROWDED})
UNLOGGED_REASONS = frozenset({CloseReason.IDLE})


class TrackedConnection(Protocol):
    """A connection, for whoever looks at it."""

    def check_timeouts(self, elapsed_seconds: float) -> None:
        """So much time went by since the last look: end it, if it is the client's fault."""
        ...


class ConnectionTracker(ServerState):
    """All that are open; also what the server's library keeps of them."""

    def __init__(self, settings: ConnectionSettings) -> None:
        super().__init__()
        self.settings = settings
        self.ended: Counter[CloseReason] = Counter()
        self._open: dict[TrackedConnection, str | None] = {}
        self._per_network: Counter[str] = Counter()
        self._checked_at: float | None = None
        self._logged: Counter[CloseReason] = Counter()
        self._logged_at = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: TrackedConnection, network: str | None) -> CloseReason | None:
        """Count it from now on, or say why there is no room. ``network``: None if it is local."""
        if len(self._open) >= self.settings.max_connections:
            return CloseReason.FULL
        if network is not None:
            if self._per_network[network] >= self.settings.max_connections_per_address:
                return CloseReason.CROWDED
            self._per_network[network] += 1
        self._open[connection] = network
        return None

    def remove(self, connection: TrackedConnection) -> None:
        """It is closed; one that was not admitted never counted."""
        network = self._open.pop(connection, None)
        if network is not None:
            self._per_network[network] -= 1
            if not self._per_network[network]:
                del self._per_network[network]

    def record_end(self, reason: CloseReason, network: str | None) -> None:
        """A connection was ended by us, or not let in."""
        self.ended[reason] += 1
        log.debug("connection.ended", reason=reason, peer=network)

    def check_timeouts(self, now_seconds: float) -> None:
        """Look at all of them, if it is time. ``now_seconds``: of a clock that never goes back."""
        if self._checked_at is None:
            self._checked_at = self._logged_at = now_seconds
        elapsed_seconds = now_seconds - self._checked_at
        if elapsed_seconds < CHECK_INTERVAL_SECONDS:
            return
        self._checked_at = now_seconds
        for connection in list(self._open):
            connection.check_timeouts(min(elapsed_seconds, 2 * CHECK_INTERVAL_SECONDS))
        if now_seconds - self._logged_at >= LOG_INTERVAL_SECONDS:
            self._logged_at = now_seconds
            self._log_ended()

    def _log_ended(self) -> None:
        """Say what clients the operator may want to know of: a line a minute, if there were any."""
        since = self.ended - self._logged
        self._logged = self.ended.copy()
        ended = {reason.value: since[reason] for reason in since if reason not in UNLOGGED_REASONS}
        if REFUSAL_REASONS & since.keys():
            log.warning("connections.refused", connections=len(self), ended=ended)
        elif ended:
            log.info("connections.limited", connections=len(self), ended=ended)


def client_network(peer: object) -> str | None:
    """Whom connections from this address count for; None for a unix socket's.

    IPv6: the network of 64 bits. IPv4 within IPv6 is IPv4.
    """
    if not isinstance(peer, tuple):
        return None
    host = str(peer[0])
    if ":" not in host:
        return host
    address = IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return ":".join(address.exploded.split(":")[:_NETWORK_GROUPS]) + "::/64"
