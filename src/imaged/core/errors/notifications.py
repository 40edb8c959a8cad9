"""Errors of the receiver of notifications."""

from __future__ import annotations

from datetime import timedelta

from imaged.core.errors.base import ImagedError


class ReceiverError(ImagedError):
    """The receiver of notifications did not accept an event. The text names it and the cause.

    ``retry_after``: how long it asks to be left alone; None if it does not say.
    """

    http_status = 503
    remedy = "The event is sent again; the operator finds the cause in the log."
    is_outage = True

    def __init__(self, receiver: str, why: str, retry_after: timedelta | None = None) -> None:
        super().__init__(f"The receiver of notifications, {receiver}, {why}.")
        self.why = why
        self.retry_after = retry_after


class EventRefused(ReceiverError):
    """The receiver works, and refused this event for what it contains."""

    is_outage = False
