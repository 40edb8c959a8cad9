"""Figures for whoever watches: ``/metrics``, on the API's own addresses and on others.

On the API's addresses they are told to this machine alone: a scraper beside the instance. A request
that a proxy passed on comes from this machine too, perhaps; its headers say that it does not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from imaged.api.refusals import NotLocal
from imaged.core.special_addresses import is_loopback

PATH = "/metrics"
PASSED_ON = ("forwarded", "x-forwarded-for", "x-real-ip", "via")

#: Writes the page for an Accept header: the page, and its media type.
Write = Callable[[str], Awaitable[tuple[bytes, str]]]


class Metrics:
    """Answers with the page."""

    def __init__(self, write: Write) -> None:
        self._write = write

    async def tell_neighbours(self, request: Request) -> Response:
        """Answer 200 to this machine. Raises NotLocal."""
        if not is_local(request.scope):
            raise NotLocal
        return await self.tell(request)

    async def tell(self, request: Request) -> Response:
        """Answer 200."""
        body, media_type = await self._write(request.headers.get("accept", ""))
        return Response(body, 200, {"Cache-Control": "no-store", "Content-Type": media_type})


def is_local(scope: Scope) -> bool:
    """Whether a request comes from this machine, by a unix socket or loopback, and from nobody
    else through a proxy.
    """
    headers = Headers(scope=scope)
    if any(name in headers for name in PASSED_ON):
        return False
    client = scope.get("client")
    return client is None or _is_loopback(client[0])


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return is_loopback(address)
