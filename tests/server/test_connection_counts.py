"""Connections are counted over all processes that share the counts."""

from __future__ import annotations

import os

from imaged.server.connection_counts import NETWORK_BUCKETS, SharedCounts, SharedSlot
from imaged.server.connections import CloseReason, ConnectionTracker
from imaged.server.settings import ConnectionSettings
from support.settings import configured

FEW = configured(ConnectionSettings, max_connections=3, max_connections_per_address=2)


class Connection:
    """A connection that is never late."""

    def check_timeouts(self, elapsed_seconds: float) -> None:
        """Do nothing."""


def test_limits_hold_for_all_processes_together() -> None:
    """Whichever process has the connections; the parent clears those of a dead one."""
    counts = SharedCounts(2)
    one, other = (ConnectionTracker(FEW, counts=SharedSlot(counts, slot)) for slot in range(2))
    first = Connection()

    assert one.admit(first, "10.0.0.1") is None
    assert other.admit(Connection(), "10.0.0.1") is None
    assert one.admit(Connection(), "10.0.0.1") is CloseReason.CROWDED
    assert other.admit(Connection(), None) is None
    assert one.admit(Connection(), "10.0.0.2") is CloseReason.FULL
    assert (counts.connections, counts.of_network("10.0.0.1")) == (3, 2)
    one.remove(first)
    assert one.admit(Connection(), "10.0.0.1") is None
    counts.clear(1)
    assert (counts.connections, counts.of_network("10.0.0.1")) == (1, 1)


def test_forked_processes_share_them() -> None:
    """What a child adds, its parent sees: a network has the same place in both."""
    counts = SharedCounts(2)
    networks = [f"10.0.{number}.1" for number in range(50)]
    child = os.fork()
    if child == 0:
        for network in networks:
            SharedSlot(counts, 1).add(network, 1)
        os._exit(0)
    os.waitpid(child, 0)

    assert counts.connections == len(networks)
    assert all(counts.of_network(network) for network in networks)
    counts.clear(1)
    assert not any(counts.of_network(network) for network in networks)


def test_counts_return_to_zero() -> None:
    """However many networks come and go."""
    counts = SharedCounts(1)
    slot = SharedSlot(counts, 0)
    networks = [f"10.{number % 256}.{number // 256}.1" for number in range(2 * NETWORK_BUCKETS)]
    for number in (1, -1):
        for network in networks:
            slot.add(network, number)
    assert slot.connections == 0
    assert not any(map(slot.of_network, networks))
