"""Waiting for what another thread or process does: they set no event of ours."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from imaged.core.retry_policy import RetryPolicy

WAIT_TIMEOUT_SECONDS = 10.0
POLL_SECONDS = 0.01
ASK_SECONDS = 0.03  # between questions that may be requests

#: For drivers whose retries a test does not want to wait for.
SHORT_PAUSES = RetryPolicy(
    first_pause=timedelta(milliseconds=10), longest_pause=timedelta(milliseconds=50)
)


def wait_until(
    is_so: Callable[[], object],
    found: Callable[[], object] = lambda: "it never became so",
    within_seconds: float = WAIT_TIMEOUT_SECONDS,
) -> None:
    """Look again and again; fail, and say what was found instead, when patience ends."""
    deadline = time.monotonic() + within_seconds
    while not is_so():
        assert time.monotonic() < deadline, found()
        time.sleep(POLL_SECONDS)  # other processes and threads set no event of ours


async def until(
    condition: Callable[[], Awaitable[bool]],
    complaint: str | Callable[[], str] = "it never became so",
    within_seconds: float = 30,
) -> None:
    """Ask again and again until it is true, or fail with a sentence."""
    try:
        async with asyncio.timeout(within_seconds):
            while not await condition():  # noqa: ASYNC110 - another process sets no event of ours
                await asyncio.sleep(ASK_SECONDS)
    except TimeoutError:
        raise AssertionError(complaint if isinstance(complaint, str) else complaint()) from None


def is_listening(port: int) -> bool:
    """Whether something listens on this port of the loopback, and goes on."""
    try:
        with socket.create_connection(("127.0.0.1", port)):
            return True
    except (ConnectionRefusedError, ConnectionResetError):  # reset: it was just being closed
        return False
