"""Limits of open connections, and their periodic checks."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from imaged.server.connection_counts import LocalCounts
from imaged.server.connections import (
    CHECK_INTERVAL_SECONDS,
    CloseReason,
    ConnectionTracker,
    client_network,
)
from imaged.server.settings import ConnectionSettings
from support.settings import configured

FEW = configured(ConnectionSettings, max_connections=3, max_connections_per_address=2)


class Seen:
    """A connection that records the elapsed times of its checks."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def check_timeouts(self, elapsed_seconds: float) -> None:
        """Record the time."""
        self.seconds.append(elapsed_seconds)


def test_the_limit_of_connections() -> None:
    """They hold in total and per network, which unix sockets have none of; closing makes room."""
    connections = ConnectionTracker(FEW)
    one, two, three, four = Seen(), Seen(), Seen(), Seen()

    assert connections.admit(one, "10.0.0.1") is None
    assert connections.admit(two, "10.0.0.1") is None
    assert connections.admit(three, "10.0.0.1") is CloseReason.CROWDED
    assert connections.admit(three, "10.0.0.2") is None
    assert connections.admit(four, "10.0.0.3") is CloseReason.FULL
    connections.remove(four)  # was never admitted
    assert len(connections) == 3
    connections.remove(one)
    connections.remove(three)
    assert connections.admit(four, "10.0.0.1") is None
    connections.remove(two)
    connections.remove(four)
    of_unix_sockets = [connections.admit(Seen(), None) for _ in range(4)]
    assert of_unix_sockets == [None, None, None, CloseReason.FULL]


def test_closed_connections_are_forgotten() -> None:
    """Counts of addresses without connections are removed."""
    counts = LocalCounts()
    connections = ConnectionTracker(FEW, counts=counts)
    for number in range(100):
        one = Seen()
        connections.admit(one, f"10.0.0.{number}")
        connections.remove(one)
        connections.remove(one)

    assert (len(connections), counts) == (0, LocalCounts())


def test_a_look_comes_once_in_a_while() -> None:
    """Checks run once a second, with the elapsed time, however often they are offered."""
    connections, one = ConnectionTracker(FEW), Seen()
    connections.admit(one, None)
    for tick in range(31):
        connections.check_timeouts(1000 + tick * CHECK_INTERVAL_SECONDS / 10)

    assert len(one.seconds) == 3
    assert sum(one.seconds) == pytest.approx(3 * CHECK_INTERVAL_SECONDS)


def test_a_stalled_process_counts_no_client_as_late() -> None:
    """A suspended machine or a blocked loop does not count against clients."""
    connections, one = ConnectionTracker(FEW), Seen()
    connections.admit(one, None)
    connections.check_timeouts(0)
    connections.check_timeouts(3600)

    assert one.seconds == [2 * CHECK_INTERVAL_SECONDS]


def test_closed_connections_are_logged_once_a_minute() -> None:
    """One line for all reasons; a warning if a connection was refused; none for idle ones."""
    connections = ConnectionTracker(FEW)
    connections.check_timeouts(0)
    with capture_logs() as lines:
        connections.record_end(CloseReason.SLOW_BODY, "10.0.0.1")
        connections.record_end(CloseReason.SLOW_BODY, "10.0.0.1")
        connections.record_end(CloseReason.IDLE, "10.0.0.1")
        connections.check_timeouts(59)
        connections.check_timeouts(61)
        connections.record_end(CloseReason.FULL, "10.0.0.1")
        connections.check_timeouts(90)
        connections.check_timeouts(122)
        connections.record_end(CloseReason.IDLE, "10.0.0.1")
        connections.check_timeouts(183)

    told = [line for line in lines if line["log_level"] != "debug"]
    assert told == [
        {
            "event": "connections.limited",
            "log_level": "info",
            "connections": 0,
            "ended": {"slow_body": 2},
        },
        {
            "event": "connections.refused",
            "log_level": "warning",
            "connections": 0,
            "ended": {"full": 1},
        },
    ]


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        (("192.0.2.7", 4711), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 4711, 0, 0), "2001:0db8:0001:0002::/64"),
        (("2001:db8:1:2::", 4711, 0, 0), "2001:0db8:0001:0002::/64"),
        (("fe80::1%eth0", 4711, 0, 2), "fe80:0000:0000:0000::/64"),
        (("::ffff:192.0.2.7", 4711, 0, 0), "192.0.2.7"),
        ("", None),
        (b"", None),
        (None, None),
    ],
)
def test_the_network_that_a_connection_counts_for(peer: object, network: str | None) -> None:
    """An IPv4 address, or the /64 network of a machine."""
    assert client_network(peer) == network
