"""Metrics of HTTP requests, and of the uploads and downloads that they carry."""

from __future__ import annotations

from collections.abc import Callable
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
    QuotaExceeded,
    StoreError,
)
from imaged.core.quota import Resource
from imaged.core.summary import RequestCounts

#: Seconds. A quantile is interpolated inside one bucket, and is wrong by the ratio of its bounds at
#: most: 2.5 to 4 where people wait for an answer. From 10 s on there are only image data, which
#: takes minutes: a step of 4 to 6 says enough of them. Above the last bound a quantile would be
#: that bound itself, so it is longer than any transfer that is normal.
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 300, 1800, 7200)

#: From small images on a fast network to large ones on a slow network, in seconds.
UPLOAD_BUCKETS = (0.1, 0.5, 2, 10, 60, 300, 1800, 7200)

REQUEST_KINDS = ("read", "write", "data")
STATUS_CLASSES = ("2xx", "3xx", "4xx", "5xx")
READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
UNCOUNTED_PATHS = frozenset({"/metrics", "/livez", "/readyz", "/healthcheck"})
ABORTED_STATUS = 500
FIRST_SERVER_ERROR = 500
REFUSED_STATUSES = (401, 403)


class RequestMeter:
    """Counts and times the requests to an application wrapped by ``wrap``. Changes no message.

    The counter has a series for each kind and class of status from the start, so that an alert sees
    the first failure. The histogram has exact codes: 200 from the start, others once answered.
    ``clock``: seconds.
    """

    def __init__(
        self, registry: CollectorRegistry, clock: Callable[[], float] = perf_counter
    ) -> None:
        self._clock = clock
        self._answered = self._failed = self._refused = 0
        requests = Counter(
            "imaged_http_requests",
            "Answered requests, without those of probes.",
            ("kind", "answer"),
            registry=registry,
        )
        self._seconds = Histogram(
            "imaged_http_request_duration_seconds",
            "Time from the header of a request to the end of its answer, with the bytes of both.",
            ("kind", "code"),
            buckets=REQUEST_BUCKETS,
            registry=registry,
        )
        refusals = Counter(
            "imaged_http_refusals",
            "Requests without a valid token (401), or that were not permitted (403).",
            ("code",),
            registry=registry,
        )
        quota_refusals = Counter(
            "imaged_quota_refusals",
            "Requests that a limit of their project refused (413).",
            ("resource",),
            registry=registry,
        )
        self._quota_refusals = {one.value: quota_refusals.labels(one.value) for one in Resource}
        for kind in REQUEST_KINDS:
            self._seconds.labels(kind, "200")
        self._refusals = {code: refusals.labels(str(code)) for code in REFUSED_STATUSES}
        self._requests = {
            (kind, answer): requests.labels(kind, answer)
            for kind in REQUEST_KINDS
            for answer in STATUS_CLASSES
        }

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """Return the application with counting middleware."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["path"] in UNCOUNTED_PATHS:
                await app(scope, receive, send)
                return
            began, status = self._clock(), ABORTED_STATUS

            async def seen(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, seen)
            finally:
                kind = request_kind(scope["method"], scope["path"])
                self.count(kind, status, self._clock() - began)

        return counted

    @property
    def counts(self) -> RequestCounts:
        """The requests that were answered, for ``imaged status``."""
        return RequestCounts(self._answered, self._failed, self._refused)

    def count_error(self, error: Exception) -> None:
        """Record the error that a request is answered with."""
        if isinstance(error, QuotaExceeded):
            self._quota_refusals[error.resource].inc()

    def count(self, kind: str, status: int, took_seconds: float) -> None:
        """Record an answered request."""
        self._answered += 1
        self._failed += status >= FIRST_SERVER_ERROR
        self._refused += status in REFUSED_STATUSES
        answer = f"{status // 100}xx"
        if status in self._refusals:
            self._refusals[status].inc()
        if (kind, answer) in self._requests:
            self._requests[kind, answer].inc()
        self._seconds.labels(kind, str(status)).observe(took_seconds)


def request_kind(method: str, path: str) -> str:
    """Return ``read``, ``write`` or ``data``, whose duration depends on the size of an image."""
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
