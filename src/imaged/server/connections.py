"""Open connections: their number is limited, and each is checked once a second.

One check over all connections replaces a timer for each, so watching a transfer costs nothing.
While this process is suspended or starved of CPU, no client counts as late.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv6Address
from typing import Protocol

import structlog
from starlette.responses import Response
from starlette.types import Scope
from uvicorn.server import ServerState

from imaged.server.connection_counts import ConnectionCounts, LocalCounts
from imaged.server.raw_responses import shutdown_response
from imaged.server.settings import ConnectionSettings

log = structlog.get_logger()

CHECK_INTERVAL_SECONDS = 1.0
LOG_INTERVAL_SECONDS = 60.0
_NETWORK_GROUPS = 4  # of an IPv6 address: a /64 belongs to one machine


class CloseReason(StrEnum):
    """Why the server ended or refused a connection."""

    FULL = "full"  # max_connections
    CROWDED = "crowded"  # max_connections_per_address
    SLOW_HEADER = "slow_header"
    LARGE_HEADER = "large_header"
    MALFORMED = "malformed"
    PIPELINED = "pipelined"  # too many requests wait for earlier answers
    SLOW_BODY = "slow_body"
    SLOW_READER = "slow_reader"
    IDLE = "idle"


REFUSAL_REASONS = frozenset({CloseReason.FULL, CloseReason.CROWDED})
UNLOGGED_REASONS = frozenset({CloseReason.IDLE})


class TrackedConnection(Protocol):
    """A connection as ConnectionTracker sees it."""

    def check_timeouts(self, elapsed_seconds: float) -> None:
        """End the connection of a slow client. ``elapsed_seconds``: since the last check."""
        ...


class ConnectionState(Protocol):
    """What the application keeps for one connection, in the ``state`` of its ASGI scopes."""

    def release(self) -> None:
        """Free the resources: the connection is closed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerHooks:
    """What the application contributes to the server, which does not know the application."""

    state_factories: Mapping[str, Callable[[], ConnectionState]] = field(default_factory=dict)
    body_too_slow: Callable[[], Exception] = TimeoutError  # raised where the body is received
    shutdown_response: Callable[[Scope], Response] = shutdown_response  # to a cancelled request
    error_headers: Callable[[], Mapping[str, str]] = dict  # of answers of the server itself


class ConnectionTracker(ServerState):
    """Counts, admits and checks the open connections; also uvicorn's server state.

    ``counts``: those of all processes that share the limits; default: there is this one only.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        hooks: ServerHooks | None = None,
        *,
        check_interval_seconds: float = CHECK_INTERVAL_SECONDS,
        counts: ConnectionCounts | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.hooks = hooks or ServerHooks()
        self._check_interval_seconds = check_interval_seconds
        self.ended: Counter[CloseReason] = Counter()
        self._open: dict[TrackedConnection, str | None] = {}
        self._counts = counts or LocalCounts()
        self._checked_at: float | None = None
        self._logged: Counter[CloseReason] = Counter()
        self._logged_at = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: TrackedConnection, network: str | None) -> CloseReason | None:
        """Count the connection, or return why it is refused. ``network``: None for a local one."""
        counts, settings = self._counts, self.settings
        counts.add(network, 1)
        refusal = None
        if counts.connections > settings.max_connections:
            refusal = CloseReason.FULL
        elif network and counts.of_network(network) > settings.max_connections_per_address:
            refusal = CloseReason.CROWDED
        if refusal is None:
            self._open[connection] = network
        else:
            counts.add(network, -1)
        return refusal

    def remove(self, connection: TrackedConnection) -> None:
        """Stop counting a closed connection. One that was not admitted has no effect."""
        if connection in self._open:
            self._counts.add(self._open.pop(connection), -1)

    def record_end(self, reason: CloseReason, network: str | None) -> None:
        """Count a connection that the server ended or refused."""
        self.ended[reason] += 1
        log.debug("connection.ended", reason=reason, peer=network)

    def check_timeouts(self, now_seconds: float) -> None:
        """Check all connections if a check is due. ``now_seconds``: of a monotonic clock."""
        if self._checked_at is None:
            self._checked_at = self._logged_at = now_seconds
        elapsed_seconds = now_seconds - self._checked_at
        if elapsed_seconds < self._check_interval_seconds:
            return
        self._checked_at = now_seconds
        for connection in list(self._open):
            connection.check_timeouts(min(elapsed_seconds, 2 * self._check_interval_seconds))
        if now_seconds - self._logged_at >= LOG_INTERVAL_SECONDS:
            self._logged_at = now_seconds
            self._log_ended()

    def _log_ended(self) -> None:
        """Log the connections ended or refused since the last call, if any."""
        since = self.ended - self._logged
        self._logged = self.ended.copy()
        ended = {reason.value: since[reason] for reason in since if reason not in UNLOGGED_REASONS}
        if REFUSAL_REASONS & since.keys():
            log.warning("connections.refused", connections=len(self), ended=ended)
        elif ended:
            log.info("connections.limited", connections=len(self), ended=ended)


def client_network(peer: object) -> str | None:
    """Return the network that a peer's connections count for; None for a unix socket.

    For IPv6 it is the /64 network. An IPv4-mapped address counts as IPv4.
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
