"""Endpoints for monitoring: health checks (``/livez``, ``/readyz``, ``/healthcheck``) and metrics.

Metrics are served at separate addresses, and at those of the API with a token. The address of the
client does not count, because requests through a proxy have the proxy's address. Separate addresses
serve metrics only, so all clients that can connect may read them, unless a token is configured; the
addresses of the API are open to all users, so a token is required there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from imaged.api.allowed_hosts import AllowedHosts
from imaged.api.authenticator import BearerToken
from imaged.api.http_errors import MetricsTokenMissing
from imaged.services.health import Health

METRICS_PATH = "/metrics"

#: Renders the page for an Accept header; returns the page and its media type.
WritePage = Callable[[str], Awaitable[tuple[bytes, str]]]


class Probes:
    """Answers health checks, without secrets, paths and addresses."""

    def __init__(self, health: Health) -> None:
        self._health = health

    async def live(self, request: Request) -> Response:  # noqa: ARG002 - a handler
        """Answer 200: the event loop responds."""
        return _text("OK", 200)

    async def ready(self, request: Request) -> Response:  # noqa: ARG002 - a handler
        """Answer 200, with the failed parts that are not needed, and with warnings; or 503 with the
        failed parts.
        """
        troubles = await self._health.troubles()
        if troubles:
            return _text("not ready: " + ", ".join(troubles), 503)
        degraded_parts = ", ".join(self._health.degraded_parts())
        warnings = [f"warning: {one}" for one in self._health.warnings()]
        return _text(
            "\n".join([f"OK, without {degraded_parts}" if degraded_parts else "OK", *warnings]), 200
        )


@dataclass(frozen=True, slots=True)
class MetricsHandler:
    """Serves metrics for Prometheus. ``names``: the host names of addresses that only this
    machine can reach.
    """

    write: WritePage
    token: BearerToken | None = None
    names: AllowedHosts | None = None

    async def tell_with_token(self, request: Request) -> Response:
        """Answer 200 to requests with the token. Raises MetricsTokenMissing."""
        if self.token is None or not self.token.is_shown(request.headers):
            raise MetricsTokenMissing
        return await self._tell(request)

    async def tell(self, request: Request) -> Response:
        """Answer 200; if a token is configured, only to requests with it.

        Raises MetricsTokenMissing, HostRefused, CrossSiteRefused.
        """
        if self.token is not None:
            return await self.tell_with_token(request)
        if self.names is not None:
            self.names.require_allowed(request.headers)
        return await self._tell(request)

    async def _tell(self, request: Request) -> Response:
        body, media_type = await self.write(request.headers.get("accept", ""))
        return Response(body, 200, {"Cache-Control": "no-store", "Content-Type": media_type})


def _text(body: str, status: int) -> Response:
    return Response(body, status, {"Cache-Control": "no-store"}, "text/plain")
