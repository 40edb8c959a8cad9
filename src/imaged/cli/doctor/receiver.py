"""Checks the receiver of notifications: its secrets, and whether it answers."""

from __future__ import annotations

from collections.abc import AsyncIterator

from imaged.cli.doctor import Finding, ok, problem, warning
from imaged.config import Config
from imaged.core.errors import ImagedError, ReceiverError
from imaged.daemon.drivers import build_receiver

SUBJECT = "notifications"


async def check_receiver(config: Config) -> AsyncIterator[Finding]:
    """Ask the receiver for its options, which sends it no event; nothing without a receiver."""
    try:
        receiver = build_receiver(config)
    except ImagedError as error:
        yield problem(SUBJECT, str(error), "Correct the file, or the setting that names it.")
        return
    if receiver is None:
        return
    try:
        answer = await receiver.ask()
    except ReceiverError as error:
        yield warning(
            SUBJECT,
            str(error),
            "Events wait until it answers. Mend it, or correct notifications.url.",
        )
    else:
        yield ok(SUBJECT, f"The receiver, {receiver.where}, {answer}.")
