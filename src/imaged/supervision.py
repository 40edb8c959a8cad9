"""What the service manager is told: sd_notify(3), where there is one that listens."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from datetime import timedelta

MARGIN = timedelta(seconds=30)  # to give back, and to close


class Supervision:
    """Tells systemd what this process is doing. Without systemd, nobody hears it."""

    def __init__(self, address: str | None = None) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address

    def ready(self, status: str) -> None:
        """Requests are answered from now on, or again after a reload."""
        self._tell(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """The configuration is being read again."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def stopping(self, status: str, patience: timedelta) -> None:
        """The end has begun, and may take so long; systemd waits that much longer."""
        microseconds = (patience + MARGIN) // timedelta(microseconds=1)
        self._tell(f"STOPPING=1\nSTATUS={status}\nEXTEND_TIMEOUT_USEC={microseconds}")

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):  # in the abstract namespace
            address = "\0" + address[1:]
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(message.encode(), address)
