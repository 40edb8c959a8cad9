"""Figures for Prometheus: ``/metrics``, at addresses of their own, and at the API's with a token.

Where a request comes from is never asked: what a proxy passes on looks like its own. An address of
their own is for nothing but figures, and whoever it lets connect reads them, unless there is a
token; the addresses of the API are for everybody, so there is none without one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from imaged.api.allowed_hosts import AllowedHosts
from imaged.api.bearer_token import BearerToken
from imaged.api.http_errors import MetricsTokenMissing

METRICS_PATH = "/metrics"

#: Writes the page for an Accept header: the page, and its media type.
WritePage = Callable[[str], Awaitable[tuple[bytes, str]]]


class MetricsHandler:
    """Answers with the page. ``names``: those of addresses that only this machine can reach."""

    def __init__(
        self, write: WritePage, token: BearerToken | None = None, names: AllowedHosts | None = None
    ) -> None:
        self._write = write
        self._token = token
        self._names = names

    async def tell_with_token(self, request: Request) -> Response:
        """Answer 200 to those who show the token. Raises MetricsTokenMissing."""
        if self._token is None or not self._token.is_shown(request.headers):
            raise MetricsTokenMissing
        return await self._tell(request)

    async def tell(self, request: Request) -> Response:
        """Answer 200, to all who show the token if there is one.

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
