"""Waiting for what another thread or process does: they set no event of ours."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

WAIT_TIMEOUT_SECONDS = 10.0
POLL_SECONDS = 0.01


def wait_until(
    is_so: Callable[[], object],
    found: Callable[[], object] = lambda: "it never became so",
    within_seconds: float = WAIT_TIMEOUT_SECONDS,
) -> None:
    """Look again and again; fail, and say what was found instead, when patience ends."""
    deadline = time.monotonic() + within_seconds
    while not is_so():
        assert time.monotonic() < deadline, found()
        time.sleep(POLL_SECONDS)


def is_listening(port: int) -> bool:
    """Whether something listens on this port of the loopback."""
    try:
        with socket.create_connection(("127.0.0.1", port)):
            return True
    except ConnectionRefusedError:
        return False
