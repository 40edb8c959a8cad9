"""Metrics for Prometheus: ``/metrics``, at separate addresses, and at those of the API with a
token.

The address of the client does not count, because requests through a proxy have the proxy's address.
Separate addresses serve metrics only, so all clients that can connect may read them, unless a token
is configured; the addresses of the API are open to all users, so a token is required there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from imaged.api.allowed_hosts import AllowedHosts
from imaged.api.bearer_token import BearerToken
from imaged.api.http_errors import MetricsTokenMissing

METRICS_PATH = "/metrics"

#: Renders the page for an Accept header; returns the page and its media type.
WritePage = Callable[[str], Awaitable[tuple[bytes, str]]]


class MetricsHandler:
    """Serves the page. ``names``: the host names of addresses that only this machine can reach."""

    def __init__(
        self, write: WritePage, token: BearerToken | None = None, names: AllowedHosts | None = None
    ) -> None:
        self._write = write
        self._token = token
        self._names = names

    async def tell_with_token(self, request: Request) -> Response:
        """Answer 200 to requests with the token. Raises MetricsTokenMissing."""
        if self._token is None or not self._token.is_shown(request.headers):
            raise MetricsTokenMissing
        return await self._tell(request)

    async def tell(self, request: Request) -> Response:
        """Answer 200; if a token is configured, only to requests with it.

        Raises MetricsTokenMissing, HostRefused, CrossSiteRefused.
        """
        if self._token is not None:
            return await self.tell_with_token(request)
        if self._names is not None:
            self._names.require_allowed(request.headers)
        return await self._tell(request)

    async def _tell(self, request: Request) -> Response:
        body, media_type = await self._write(request.headers.get("accept", ""))
        return Response(body, 200, {"Cache-Control": "no-store", "Content-Type": media_type})
