"""How long a connection waits for its client: timers, and the rate of each direction.

A rate is averaged over the time in which the server waited for the client. Time in which it did
not read, or had nothing to send, does not count; the bytes moved in it do.
"""

from __future__ import annotations

from collections import deque

from imaged.server.settings import ConnectionSettings, MinimumRate


class TransferRate:
    """Measures one direction of a transfer over a sliding window."""

    __slots__ = ("_moved_bytes", "_samples", "_waited_seconds")

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self._waited_seconds = 0.0
        self._moved_bytes = 0

    def record(self, waited_seconds: float, moved_bytes: int, rate: MinimumRate) -> None:
        """Add a sample, and drop samples older than the window of ``rate``."""
        if self._samples and not waited_seconds:  # merge it: memory stays constant
            last_waited, last_moved = self._samples.pop()
            self._samples.append((last_waited, last_moved + moved_bytes))
        else:
            self._samples.append((waited_seconds, moved_bytes))
        self._waited_seconds += waited_seconds
        self._moved_bytes += moved_bytes
        window_seconds = rate.window.total_seconds()
        while self._waited_seconds - self._samples[0][0] >= window_seconds:
            waited, moved = self._samples.popleft()
            self._waited_seconds -= waited
            self._moved_bytes -= moved

    def is_below(self, rate: MinimumRate) -> bool:
        """Whether the server waited for a whole window and received less than ``rate`` in it."""
        if self._waited_seconds < rate.window.total_seconds():
            return False
        return self._moved_bytes < rate.bytes_per_second * self._waited_seconds


class ClientTimeouts:
    """Decides when a client is too slow. ``elapsed_seconds``: the time since the last check."""

    __slots__ = (
        "_receive_rate",
        "_seen_received_bytes",
        "_seen_sent_bytes",
        "_send_rate",
        "_waited_seconds",
    )

    def __init__(self) -> None:
        self._send_rate, self._seen_sent_bytes = TransferRate(), 0
        self.restart_header()
        self.restart_body()

    def restart_header(self) -> None:
        """Restart the timer for the next header, or for its first byte."""
        self._waited_seconds = 0.0

    def restart_body(self) -> None:
        """Restart the rate of the body."""
        self._receive_rate, self._seen_received_bytes = TransferRate(), 0

    def header_is_late(
        self, elapsed_seconds: float, settings: ConnectionSettings, *, is_idle: bool
    ) -> bool:
        """Whether the header timed out. ``is_idle``: no byte of it has arrived."""
        timeout = settings.idle_timeout if is_idle else settings.header_timeout
        self._waited_seconds += elapsed_seconds
        return self._waited_seconds >= timeout.total_seconds()

    def body_is_slow(
        self,
        elapsed_seconds: float,
        settings: ConnectionSettings,
        received_bytes_so_far: int,
        *,
        client_is_waiting: bool,
    ) -> bool:
        """Whether the body arrives below the minimum rate. Time in which the client waits for
        ``100 Continue``, or for this server to read, does not count.
        """
        rate, more_bytes = settings.min_rate, received_bytes_so_far - self._seen_received_bytes
        self._seen_received_bytes = received_bytes_so_far
        self._receive_rate.record(0 if client_is_waiting else elapsed_seconds, more_bytes, rate)
        return self._receive_rate.is_below(rate)

    def reader_is_slow(
        self,
        elapsed_seconds: float,
        settings: ConnectionSettings,
        buffered_bytes: int,
        acknowledged_bytes: int,
    ) -> bool:
        """Whether the client reads buffered data below the minimum rate; False if there is none."""
        rate, more_bytes = settings.min_rate, acknowledged_bytes - self._seen_sent_bytes
        self._seen_sent_bytes = acknowledged_bytes
        if not buffered_bytes:
            self._send_rate = TransferRate()
            return False
        self._send_rate.record(elapsed_seconds, more_bytes, rate)
        return self._send_rate.is_below(rate)
