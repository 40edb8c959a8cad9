"""Metrics of ended uploads and downloads: outcomes, and durations of completed uploads."""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Histogram

from imaged.core.errors import (
    CatalogError,
    ClaimLost,
    ClientVanished,
    FormatRefused,
    ImagedError,
    StoreError,
)

#: From small images on a fast network to large ones on a slow network.
UPLOAD_BUCKETS = (0.1, 0.5, 2, 10, 60, 300, 1800, 7200)


class Outcome(StrEnum):
    """How a transfer ended, and which side caused it."""

    COMPLETED = "completed"
    REFUSED = "refused"  # by the client: wrong bytes, no room, not possible now
    BROKEN_OFF = "broken_off"  # the client left
    FAILED = "failed"  # by imaged: a store, the catalog, a lost claim, a bug
    STOPPED = "stopped"  # cancelled: the server shuts down, or the connection was lost


def outcome_of(error: BaseException | None) -> Outcome:
    """Return the outcome of a transfer that raised ``error``."""
    match error:
        case None:
            return Outcome.COMPLETED
        case ClientVanished():
            return Outcome.BROKEN_OFF
        case StoreError() | CatalogError() | ClaimLost():
            return Outcome.FAILED
        case ImagedError():
            return Outcome.REFUSED
        case Exception():
            return Outcome.FAILED
        case _:
            return Outcome.STOPPED


class TransferMeter:
    """The ``Meter`` of ``services/transfers.py``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        transfers = Counter(
            "imaged_transfers",
            "Ended transfers of image data; staged and imported data counts as uploads.",
            ("direction", "outcome"),
            registry=registry,
        )
        self._counts = {
            (direction, outcome): transfers.labels(direction, outcome)
            for direction in ("upload", "download")
            for outcome in Outcome
        }
        self._seconds = Histogram(
            "imaged_upload_seconds",
            "Duration of completed uploads, from the first byte to durable bytes.",
            buckets=UPLOAD_BUCKETS,
            registry=registry,
        )
        self._refusals = Counter(
            "imaged_format_refusals",
            "Uploads whose bytes had another format than declared, or were unsafe.",
            registry=registry,
        )

    def __call__(self, what: str, seconds: float, error: BaseException | None) -> None:
        """Record the end of a transfer. ``what``: upload or download."""
        self._counts[what, outcome_of(error)].inc()
        if isinstance(error, FormatRefused):
            self._refusals.inc()
        if what == "upload" and error is None:
            self._seconds.observe(seconds)
