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

from imaged.daemon.limits import ConnectionSettings

log = structlog.get_logger()

LOOK_SECONDS = 1.0
TELL_SECONDS = 60.0
_NETWORK_GROUPS = 4  # of an IPv6 address: a machine has all that follow to itself


class Reason(StrEnum):
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


REFUSALS = frozenset({Reason.FULL, Reason.CROWDED})
ORDINARY = frozenset({Reason.IDLE})


class Watched(Protocol):
    """A connection, for whoever looks at it."""

    def look(self, elapsed_seconds: float) -> None:
        """So much time went by since the last look: end it, if it is the client's fault."""
        ...


class Connections(ServerState):
    """All that are open; also what the server's library keeps of them."""

    def __init__(self, settings: ConnectionSettings) -> None:
        super().__init__()
        self.settings = settings
        self.ended: Counter[Reason] = Counter()
        self._open: dict[Watched, str | None] = {}
        self._per_origin: Counter[str] = Counter()
        self._looked_at: float | None = None
        self._told: Counter[Reason] = Counter()
        self._told_at = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Watched, origin: str | None) -> Reason | None:
        """Count it from now on, or say why there is no room. ``origin``: None if it is local."""
        if len(self._open) >= self.settings.max_connections:
            return Reason.FULL
        if origin is not None:
            if self._per_origin[origin] >= self.settings.max_connections_per_address:
                return Reason.CROWDED
            self._per_origin[origin] += 1
        self._open[connection] = origin
        return None

    def forget(self, connection: Watched) -> None:
        """It is closed; one that was not admitted never counted."""
        origin = self._open.pop(connection, None)
        if origin is not None:
            self._per_origin[origin] -= 1
            if not self._per_origin[origin]:
                del self._per_origin[origin]

    def note_end(self, reason: Reason, origin: str | None) -> None:
        """A connection was ended by us, or not let in."""
        self.ended[reason] += 1
        log.debug("connection.ended", reason=reason, peer=origin)

    def look(self, now_seconds: float) -> None:
        """Look at all of them, if it is time. ``now_seconds``: of a clock that never goes back."""
        if self._looked_at is None:
            self._looked_at = self._told_at = now_seconds
        elapsed_seconds = now_seconds - self._looked_at
        if elapsed_seconds < LOOK_SECONDS:
            return
        self._looked_at = now_seconds
        for connection in list(self._open):
            connection.look(min(elapsed_seconds, 2 * LOOK_SECONDS))
        if now_seconds - self._told_at >= TELL_SECONDS:
            self._told_at = now_seconds
            self._tell()

    def _tell(self) -> None:
        """Say what clients the operator may want to know of: a line a minute, if there were any."""
        since = self.ended - self._told
        self._told = self.ended.copy()
        ended = {reason.value: since[reason] for reason in since if reason not in ORDINARY}
        if REFUSALS & since.keys():
            log.warning("connections.refused", connections=len(self), ended=ended)
        elif ended:
            log.info("connections.limited", connections=len(self), ended=ended)


def origin_of(peer: object) -> str | None:
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
