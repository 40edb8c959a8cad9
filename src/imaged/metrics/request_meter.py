"""Requests: how many of which kind, how they were answered, and how long the answer took.

A middleware around the whole application. It looks at the beginning of each answer and touches
nothing: messages pass through as they are.
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
    """Counts what passes through ``wrap(app)``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        requests = Counter(
            "imaged_http_requests",
            "Requests that were answered, but for those of probes.",
            ("kind", "answer"),
            registry=registry,
        )
        seconds = Histogram(
            "imaged_http_request_seconds",
            "How long a request waited for the beginning of its answer, but for image data.",
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
        """The same application, counted."""

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
    """Image data is as slow as it is large, and so is apart from the rest."""
    if path.endswith(("/file", "/stage")):
        return "data"
    return "read" if method in READ_METHODS else "write"
