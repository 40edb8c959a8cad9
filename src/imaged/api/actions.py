"""Forbids and allows reading the data of an image: ``/v2/images/{image_id}/actions/…``."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from imaged.api.requests import caller_of, image_id_of
from imaged.services.images import Images


class Actions:
    """Deactivates and reactivates. Repeating a call changes nothing."""

    def __init__(self, images: Images) -> None:
        self._images = images

    async def deactivate(self, request: Request) -> Response:
        """Answer 204: only administrators can read the data now."""
        await self._images.deactivate(caller_of(request), image_id_of(request))
        return Response(status_code=204)

    async def reactivate(self, request: Request) -> Response:
        """Answer 204: all callers that see the image can read its data again."""
        await self._images.reactivate(caller_of(request), image_id_of(request))
        return Response(status_code=204)
