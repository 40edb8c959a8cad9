"""Metrics of HTTP requests, and of the uploads and downloads that they carry."""

from __future__ import annotations

from enum import StrEnum
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imaged.core.errors import (
    CatalogError,
    ClaimLost,
    ClientVanished,
    FormatRefused,
    ImagedError,
    StoreError,
)

REQUEST_BUCKETS = (0.005, 0.02, 0.1, 0.5, 2)

#: From small images on a fast network to large ones on a slow network.
UPLOAD_BUCKETS = (0.1, 0.5, 2, 10, 60, 300, 1800, 7200)

REQUEST_KINDS = ("read", "write", "data")
STATUS_CLASSES = ("2xx", "3xx", "4xx", "5xx")
READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
UNCOUNTED_PATHS = frozenset({"/metrics", "/livez", "/readyz", "/healthcheck"})
ABORTED_STATUS = 500
REFUSED_STATUSES = (401, 403)


class RequestMeter:
    """Counts the requests to an application wrapped by ``wrap``: by kind and status class, with the
    time to the response header. Changes no message.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        requests = Counter(
            "imaged_http_requests",
            "Answered requests, without those of probes.",
            ("kind", "answer"),
            registry=registry,
        )
        seconds = Histogram(
            "imaged_http_request_seconds",
            "Time from a request to the header of its answer; not for image data.",
            ("kind",),
            buckets=REQUEST_BUCKETS,
            registry=registry,
        )
        refusals = Counter(
            "imaged_http_refusals",
            "Requests without a valid token (401), or that were not permitted (403).",
            ("code",),
            registry=registry,
        )
        self._refusals = {code: refusals.labels(str(code)) for code in REFUSED_STATUSES}
        self._requests = {
            (kind, answer): requests.labels(kind, answer)
            for kind in REQUEST_KINDS
            for answer in STATUS_CLASSES
        }
        self._seconds = {kind: seconds.labels(kind) for kind in REQUEST_KINDS if kind != "data"}

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """Return the application with counting middleware."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["path"] in UNCOUNTED_PATHS:
                await app(scope, receive, send)
                return
            began, status, took_seconds = perf_counter(), ABORTED_STATUS, 0.0

            async def seen(message: Message) -> None:
                nonlocal status, took_seconds
                if message["type"] == "http.response.start":
                    status, took_seconds = message["status"], perf_counter() - began
                await send(message)

            try:
                await app(scope, receive, seen)
            finally:
                self._count(request_kind(scope["method"], scope["path"]), status, took_seconds)

        return counted

    def _count(self, kind: str, status: int, took_seconds: float) -> None:
        answer = f"{status // 100}xx"
        if status in self._refusals:
            self._refusals[status].inc()
        if (kind, answer) in self._requests:
            self._requests[kind, answer].inc()
        if kind in self._seconds:
            self._seconds[kind].observe(took_seconds)


def request_kind(method: str, path: str) -> str:
    """Return ``read``, ``write`` or ``data``. The duration of the last depends on the size."""
    if path.endswith(("/file", "/stage")):
        return "data"
    return "read" if method in READ_METHODS else "write"


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
    """The ``Meter`` of ``services/traffic.py``."""

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
