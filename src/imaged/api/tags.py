"""The tags of an image: ``/v2/images/{image_id}/tags/{tag}``."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from imaged.api.requests import caller_of, image_id_of
from imaged.services.images import Images


class Tags:
    """Adds and removes tags."""

    def __init__(self, images: Images) -> None:
        self._images = images

    async def put(self, request: Request) -> Response:
        """Answer 204, also if the image has the tag already."""
        await self._images.add_tag(
            caller_of(request), image_id_of(request), request.path_params["tag"]
        )
        return Response(status_code=204)

    async def delete(self, request: Request) -> Response:
        """Answer 204."""
        await self._images.remove_tag(
            caller_of(request), image_id_of(request), request.path_params["tag"]
        )
        return Response(status_code=204)
