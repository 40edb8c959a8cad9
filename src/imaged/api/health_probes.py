"""Health checks for monitoring: ``/livez``, ``/readyz``, ``/healthcheck``."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from imaged.services.health import Health


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


def _text(body: str, status: int) -> Response:
    return Response(body, status, {"Cache-Control": "no-store"}, "text/plain")
