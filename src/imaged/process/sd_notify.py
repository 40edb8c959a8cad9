"""What the service manager is told: sd_notify(3), where there is one that listens."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress
from datetime import timedelta

MICROSECOND = timedelta(microseconds=1)
NOTIFY_TIMEOUT_SECONDS = 1.0  # with a service manager that reads nothing


class SystemdNotifier:
    """Tells systemd what this process is doing. Without systemd, nobody hears it.

    Its variables are taken out of the environment: they are for this process, and not for its
    children. ``watchdog`` is how long the process may be silent, None where nobody watches it.
    """

    def __init__(self, environment: MutableMapping[str, str] | None = None) -> None:
        offered = os.environ if environment is None else environment
        self._address = offered.pop("NOTIFY_SOCKET", "")
        self.watchdog = _watchdog(offered.pop("WATCHDOG_USEC", ""), offered.pop("WATCHDOG_PID", ""))

    def ready(self, status: str) -> None:
        """Requests are answered from now on, or again after a reload."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """The configuration is being read again."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def status(self, status: str) -> None:
        """Say what is going on."""
        self._send(f"STATUS={status}")

    def feed_watchdog(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def stopping(self, status: str, timeout: timedelta) -> None:
        """The end has begun, or goes on: systemd waits so long from now, at least."""
        self._send(
            "STOPPING=1", f"STATUS={status}", f"EXTEND_TIMEOUT_USEC={timeout // MICROSECOND}"
        )

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):  # in the abstract namespace
            address = "\0" + address[1:]
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(NOTIFY_TIMEOUT_SECONDS)
            channel.sendto("\n".join(lines).encode(), address)


def _watchdog(microseconds: str, pid: str) -> timedelta | None:
    """How long this process may be silent; None where that is said to another one, or to none."""
    if not microseconds.isdecimal() or pid not in {"", str(os.getpid())}:
        return None
    return int(microseconds) * MICROSECOND or None
