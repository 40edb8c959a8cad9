"""How long the client of one connection has been waited for, by turns; what it says is pure."""

from __future__ import annotations

from imaged.daemon.limits import ConnectionSettings
from imaged.daemon.pace import Pace


class Patience:
    """One connection's. Each method is told of the time that went by since the last look."""

    __slots__ = ("_coming", "_going", "_seen_coming", "_seen_going", "_waited_seconds")

    def __init__(self) -> None:
        self._going, self._seen_going = Pace(), 0
        self.begin_header()
        self.begin_body()

    def begin_header(self) -> None:
        """Begin anew to wait for a header, or for its first byte."""
        self._waited_seconds = 0.0

    def begin_body(self) -> None:
        """Begin to wait for another body."""
        self._coming, self._seen_coming = Pace(), 0

    def header_is_late(
        self, elapsed_seconds: float, settings: ConnectionSettings, *, is_idle: bool
    ) -> bool:
        """Whether the next header was waited for long enough; ``is_idle``: nothing of it came."""
        timeout = settings.idle_timeout if is_idle else settings.header_timeout
        self._waited_seconds += elapsed_seconds
        return self._waited_seconds >= timeout.total_seconds()

    def body_is_slow(
        self,
        elapsed_seconds: float,
        settings: ConnectionSettings,
        came_bytes: int,
        *,
        waits_for_us: bool,
    ) -> bool:
        """Whether a body of which so much came is too slow. A client that waits for permission to
        send, or for room, is not.
        """
        rate, more_bytes = settings.min_rate, came_bytes - self._seen_coming
        self._seen_coming = came_bytes
        self._coming.note(0 if waits_for_us else elapsed_seconds, more_bytes, rate)
        return self._coming.is_below(rate)

    def reader_is_slow(
        self,
        elapsed_seconds: float,
        settings: ConnectionSettings,
        held_bytes: int,
        taken_bytes: int,
    ) -> bool:
        """Whether too little is read of what we hold. Where we hold nothing, it is not."""
        rate, more_bytes = settings.min_rate, taken_bytes - self._seen_going
        self._seen_going = taken_bytes
        if not held_bytes:
            self._going = Pace()
            return False
        self._going.note(elapsed_seconds, more_bytes, rate)
        return self._going.is_below(rate)
