"""The records of images, with tags and actions: ``/v2/images`` and below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from imaged.api.bodies import document_of, json_object_of, json_response, media_type_of
from imaged.api.listing import read_listing
from imaged.api.patches import operations, require_patch
from imaged.api.requests import Links, caller_of, image_id_of
from imaged.api.serialize import image_json, image_path
from imaged.core.access import Caller
from imaged.core.image import Image
from imaged.core.query import ImagePage
from imaged.services.images import Images

METHODS_HEADER = "OpenStack-image-import-methods"  # the import methods available for it
STORES_HEADER = "OpenStack-image-store-ids"  # the stores available for it


class ImageRecords:
    """Creates, lists, shows, changes and deletes images; their tags and actions."""

    def __init__(
        self, images: Images, links: Links, stores: Sequence[str], methods: Sequence[str]
    ) -> None:
        self._images = images
        self._links = links
        self._stores = stores
        self._methods = methods

    async def create(self, request: Request) -> Response:
        """Answer 201 with the new image and its address."""
        caller = caller_of(request)
        attributes = await json_object_of(request, "the image's attributes")
        image = await self._images.create(caller, attributes)
        headers = {"Location": self._links.absolute(request, image_path(image.id))}
        if self._methods:
            headers[METHODS_HEADER] = ",".join(self._methods)
        if self._stores:
            headers[STORES_HEADER] = ",".join(self._stores)
        return _shown(image, caller, 201, headers)

    async def show(self, request: Request) -> Response:
        """Answer 200 with the image."""
        caller = caller_of(request)
        return _shown(await self._images.show(caller, image_id_of(request)), caller)

    async def list(self, request: Request) -> Response:
        """Answer 200 with a page of images and the address of the next page."""
        caller = caller_of(request)
        listing = read_listing(caller, request.query_params)
        after = await listing.marked(partial(self._images.show, caller))
        limit = listing.query.limit
        # One image more than requested tells whether another page follows.
        wanted = replace(listing.query, after=after, limit=limit + 1)
        found = await self._images.list(wanted) if limit else ImagePage(())
        shown = [image_json(image, caller) for image in found.images[:limit]]
        is_last = not found.is_cut and len(found.images) <= limit
        return json_response(listing.page(shown, is_last=is_last))

    async def patch(self, request: Request) -> Response:
        """Answer 200 with the image after the patch."""
        caller, media_type = caller_of(request), media_type_of(request)
        require_patch(media_type)
        steps = operations(media_type, await document_of(request))
        return _shown(await self._images.patch(caller, image_id_of(request), steps), caller)

    async def delete(self, request: Request) -> Response:
        """Answer 204."""
        await self._images.delete(caller_of(request), image_id_of(request))
        return Response(status_code=204)

    async def deactivate(self, request: Request) -> Response:
        """Answer 204: only administrators can read the data now. Repeating it changes nothing."""
        await self._images.deactivate(caller_of(request), image_id_of(request))
        return Response(status_code=204)

    async def reactivate(self, request: Request) -> Response:
        """Answer 204: all callers that see the image can read its data again."""
        await self._images.reactivate(caller_of(request), image_id_of(request))
        return Response(status_code=204)

    async def add_tag(self, request: Request) -> Response:
        """Answer 204, also if the image has the tag already."""
        tag = request.path_params["tag"]
        await self._images.add_tag(caller_of(request), image_id_of(request), tag)
        return Response(status_code=204)

    async def remove_tag(self, request: Request) -> Response:
        """Answer 204."""
        tag = request.path_params["tag"]
        await self._images.remove_tag(caller_of(request), image_id_of(request), tag)
        return Response(status_code=204)


def _shown(
    image: Image, caller: Caller, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return json_response(image_json(image, caller), status, headers)
