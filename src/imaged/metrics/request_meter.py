"""Metrics of HTTP requests: counts by kind and status class, and the time to the response header.

An ASGI middleware around the whole application. It reads the start of each response and changes no
message.
"""

from __future__ import annotations

from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_BUCKETS = (0.005, 0.02, 0.1, 0.5, 2)
REQUEST_KINDS = ("read", "write", "data")
STATUS_CLASSES = ("2xx", "3xx", "4xx", "5xx")
READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
UNCOUNTED_PATHS = frozenset({"/metrics", "/livez", "/readyz", "/healthcheck"})
ABORTED_STATUS = 500


class RequestMeter:
    """Counts the requests to an application wrapped by ``wrap``."""

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
        if (kind, answer) in self._requests:
            self._requests[kind, answer].inc()
        if kind in self._seconds:
            self._seconds[kind].observe(took_seconds)


def request_kind(method: str, path: str) -> str:
    """Return ``read``, ``write`` or ``data``. The duration of the last depends on the size."""
    if path.endswith(("/file", "/stage")):
        return "data"
    return "read" if method in READ_METHODS else "write"
