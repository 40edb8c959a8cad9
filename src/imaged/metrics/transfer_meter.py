"""Uploads and downloads that ended: how, and how long the good ones took."""

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

#: From small images on a fast line to large ones on a slow line.
UPLOAD_BUCKETS = (0.1, 0.5, 2, 10, 60, 300, 1800, 7200)


class Outcome(StrEnum):
    """How a transfer ended, and whom it concerns."""

    COMPLETED = "completed"
    REFUSED = "refused"  # the client's: wrong bytes, no room, not possible now
    BROKEN_OFF = "broken_off"  # the client left
    FAILED = "failed"  # ours: a store, the catalog, a lost claim, a mistake
    STOPPED = "stopped"  # cancelled: the server is being stopped, or the connection was lost


def outcome_of(error: BaseException | None) -> Outcome:
    """How a transfer ended that raised this."""
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
    """Is the ``Meter`` of ``services/traffic.py``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        transfers = Counter(
            "imaged_transfers",
            "Transfers of image data that ended; data that is staged or imported is uploaded too.",
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
            "How long completed uploads took, from the first byte to durable bytes.",
            buckets=UPLOAD_BUCKETS,
            registry=registry,
        )
        self._refusals = Counter(
            "imaged_format_refusals",
            "Uploads whose bytes were of another format than declared, or not safe.",
            registry=registry,
        )

    def __call__(self, what: str, seconds: float, error: BaseException | None) -> None:
        """``what``: upload or download."""
        self._counts[what, outcome_of(error)].inc()
        if isinstance(error, FormatRefused):
            self._refusals.inc()
        if what == "upload" and error is None:
            self._seconds.observe(seconds)
