"""Notifications to systemd: sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress
from datetime import timedelta

from imaged.units import MICROSECOND

NOTIFY_TIMEOUT_SECONDS = 1.0  # if systemd does not read


class SystemdNotifier:
    """Sends the state of this process to systemd; does nothing without systemd.

    It removes its variables from the environment, because children must not use them.
    ``watchdog``: the longest allowed time between two calls of ``feed_watchdog``; None if off.
    """

    def __init__(self, environment: MutableMapping[str, str] | None = None) -> None:
        offered = os.environ if environment is None else environment
        self._address = offered.pop("NOTIFY_SOCKET", "")
        self.watchdog = _watchdog(offered.pop("WATCHDOG_USEC", ""), offered.pop("WATCHDOG_PID", ""))

    def ready(self, status: str) -> None:
        """Report that the start, or a reload, is complete."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Report that a reload has begun."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def status(self, status: str) -> None:
        """Set the status line of ``systemctl status``."""
        self._send(f"STATUS={status}")

    def feed_watchdog(self) -> None:
        """Tell the watchdog that the process is alive."""
        self._send("WATCHDOG=1")

    def stopping(self, status: str, timeout: timedelta) -> None:
        """Report the shutdown, and have systemd wait at least ``timeout`` from now."""
        self._send(
            "STOPPING=1", f"STATUS={status}", f"EXTEND_TIMEOUT_USEC={timeout // MICROSECOND}"
        )

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):  # the abstract namespace
            address = "\0" + address[1:]
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(NOTIFY_TIMEOUT_SECONDS)
            channel.sendto("\n".join(lines).encode(), address)


def _watchdog(microseconds: str, pid: str) -> timedelta | None:
    """Return the watchdog's time; None if it is off or meant for another process."""
    if not microseconds.isdecimal() or pid not in {"", str(os.getpid())}:
        return None
    return int(microseconds) * MICROSECOND or None
