"""How many connections there may be, and how they are looked at."""

from __future__ import annotations

from collections import Counter

import pytest
from structlog.testing import capture_logs

from imaged.daemon.connections import LOOK_SECONDS, Connections, Reason, origin_of
from imaged.daemon.limits import ConnectionSettings

FEW = ConnectionSettings(max_connections=3, max_connections_per_address=2)


class Seen:
    """A connection that notes how long it was looked at."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def look(self, elapsed_seconds: float) -> None:
        """Note it."""
        self.seconds.append(elapsed_seconds)


def test_there_is_room_for_so_many() -> None:
    """In all, and for each origin; what left makes room."""
    connections = Connections(FEW)
    one, two, three, four = Seen(), Seen(), Seen(), Seen()

    assert connections.admit(one, "10.0.0.1") is None
    assert connections.admit(two, "10.0.0.1") is None
    assert connections.admit(three, "10.0.0.1") is Reason.CROWDED
    assert connections.admit(three, "10.0.0.2") is None
    assert connections.admit(four, "10.0.0.3") is Reason.FULL
    connections.forget(four)  # was never in
    assert len(connections) == 3
    connections.forget(one)
    connections.forget(three)
    assert connections.admit(four, "10.0.0.1") is None


def test_local_ones_count_in_all_only() -> None:
    """A unix socket has no address."""
    connections = Connections(FEW)

    assert [connections.admit(Seen(), None) for _ in range(4)] == [None, None, None, Reason.FULL]


def test_who_has_left_is_forgotten() -> None:
    """Addresses come and go for years, and take no memory."""
    connections = Connections(FEW)
    for number in range(100):
        one = Seen()
        connections.admit(one, f"10.0.0.{number}")
        connections.forget(one)
        connections.forget(one)

    assert (len(connections), connections._per_origin) == (0, Counter())


def test_a_look_comes_once_in_a_while() -> None:
    """However often it is asked for, with the time that went by."""
    connections, one = Connections(FEW), Seen()
    connections.admit(one, None)
    for tick in range(31):
        connections.look(1000 + tick * LOOK_SECONDS / 10)

    assert len(one.seconds) == 3
    assert sum(one.seconds) == pytest.approx(3 * LOOK_SECONDS)


def test_nobody_is_late_while_the_process_stands_still() -> None:
    """A suspended machine, or a hanging loop, is not the clients' fault."""
    connections, one = Connections(FEW), Seen()
    connections.admit(one, None)
    connections.look(0)
    connections.look(3600)

    assert one.seconds == [2 * LOOK_SECONDS]


def test_what_was_ended_is_told_once_a_minute() -> None:
    """One line for all; a warning where somebody found no room; and none for idle ones."""
    connections = Connections(FEW)
    connections.look(0)
    with capture_logs() as lines:
        connections.note_end(Reason.SLOW_BODY, "10.0.0.1")
        connections.note_end(Reason.SLOW_BODY, "10.0.0.1")
        connections.note_end(Reason.IDLE, "10.0.0.1")
        connections.look(59)
        connections.look(61)
        connections.note_end(Reason.FULL, "10.0.0.1")
        connections.look(90)
        connections.look(122)
        connections.note_end(Reason.IDLE, "10.0.0.1")
        connections.look(183)

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
    ("peer", "origin"),
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
def test_whom_a_connection_counts_for(peer: object, origin: str | None) -> None:
    """An address, or the network that a machine has to itself."""
    assert origin_of(peer) == origin
