"""The records of images, with tags, actions, patches and imports: ``/v2/images`` and below.

Two media types of patches are served, both a small part of JSON Patch.
v2.1: ``[{"op": "replace", "path": "/name", "value": "…"}]``; adding an existing property replaces
it.
v2.0: ``[{"replace": "/name", "value": "…"}]``; adding an existing property is a conflict.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from imaged.api.bodies import document_of, json_object_of, json_response, media_type_of
from imaged.api.conditions import image_condition, require_wanted
from imaged.api.http_errors import NO_HEADERS, MediaTypeRefused
from imaged.api.image_data import receive_data
from imaged.api.listing import read_listing
from imaged.api.resource import Links, caller_of, image_id_of, request_id_of, store_of
from imaged.api.serialize import history_json, image_etag, image_json, image_path
from imaged.core.access import Caller
from imaged.core.edits import Action, Operation
from imaged.core.errors import ImageNotFound, InvalidRequest, ReadOnlyAttribute
from imaged.core.image import Image
from imaged.core.precondition import Precondition
from imaged.services.images import Images
from imaged.services.ingest import Ingester
from imaged.services.tasks.types.api_image_import import ImageImportService
from imaged.services.tasks.types.location_import import LocationImportService

METHODS_HEADER = "OpenStack-image-import-methods"  # the import methods available for it
STORES_HEADER = "OpenStack-image-store-ids"  # the stores available for it

REVALIDATED = "private, no-cache"  # a cache asks again, each caller for itself

V2_0 = "application/openstack-images-v2.0-json-patch"
V2_1 = "application/openstack-images-v2.1-json-patch"

PATCH_OPERATIONS = ("add", "remove", "replace")
_ONE_OF = f"must be one of {', '.join(PATCH_OPERATIONS)}"
_BAD_ESCAPE = re.compile("~(?![01])")


@dataclass(frozen=True, slots=True)
class ImageRecords:
    """Creates, lists, shows, changes and deletes images; their tags and actions."""

    images: Images
    links: Links
    stores: Sequence[str]
    methods: Sequence[str]

    async def create(self, request: Request) -> Response:
        """Answer 201 with the new image and its address."""
        caller = caller_of(request)
        attributes = await json_object_of(request, "the image's attributes")
        image = await self.images.create(caller, attributes)
        headers = {"Location": self.links.absolute(request, image_path(image.id))}
        if self.methods:
            headers[METHODS_HEADER] = ",".join(self.methods)
        if self.stores:
            headers[STORES_HEADER] = ",".join(self.stores)
        return _shown(image, caller, 201, headers)

    async def find(self, request: Request) -> Image:
        """The image in the path. Raises ImageNotFound."""
        return await self.images.show(caller_of(request), image_id_of(request))

    async def show(self, request: Request) -> Response:
        """Answer 200 with the image, or 304 if the client has it already."""
        image, caller = await self.find(request), caller_of(request)
        etag = image_etag(image, caller)
        require_wanted(request.headers, etag)
        return _shown(image, caller, etag=etag)

    async def history(self, request: Request) -> Response:
        """Answer 200 with the changes of the image, also of a deleted one."""
        caller = caller_of(request)
        history = await self.images.history(caller, image_id_of(request))
        return json_response(history_json(history, caller))

    async def list(self, request: Request) -> Response:
        """Answer 200 with a page of images and the address of the next page."""
        caller = caller_of(request)
        listing = read_listing(caller, request.query_params)
        limit = listing.query.limit
        # One image more than requested tells whether another page follows.
        wanted = replace(listing.query, after_id=listing.marker_id(), limit=limit + 1)
        try:
            found = await self.images.list(wanted)
        except ImageNotFound as error:
            raise listing.unknown_marker() from error
        shown = [image_json(image, caller) for image in found.images[:limit]]
        is_last = not limit or (not found.is_cut and len(found.images) <= limit)
        return json_response(listing.page(shown, is_last=is_last))

    async def patch(self, request: Request) -> Response:
        """Answer 200 with the image after the patch."""
        caller, media_type = caller_of(request), media_type_of(request)
        _require_patch(media_type)
        steps = read_patch(media_type, await document_of(request))
        condition = _condition_of(request)
        after = await self.images.patch(caller, image_id_of(request), steps, condition)
        return _shown(after, caller)

    async def delete(self, request: Request) -> Response:
        """Answer 204."""
        condition = _condition_of(request)
        await self.images.delete(caller_of(request), image_id_of(request), condition)
        return Response(status_code=204)

    async def deactivate(self, request: Request) -> Response:
        """Answer 204: only administrators can read the data now. Repeating it changes nothing."""
        condition = _condition_of(request)
        await self.images.deactivate(caller_of(request), image_id_of(request), condition)
        return Response(status_code=204)

    async def reactivate(self, request: Request) -> Response:
        """Answer 204: all callers that see the image can read its data again."""
        condition = _condition_of(request)
        await self.images.reactivate(caller_of(request), image_id_of(request), condition)
        return Response(status_code=204)

    async def add_tag(self, request: Request) -> Response:
        """Answer 204, also if the image has the tag already."""
        tag = request.path_params["tag"]
        condition = _condition_of(request)
        await self.images.add_tag(caller_of(request), image_id_of(request), tag, condition)
        return Response(status_code=204)

    async def remove_tag(self, request: Request) -> Response:
        """Answer 204."""
        tag = request.path_params["tag"]
        condition = _condition_of(request)
        await self.images.remove_tag(caller_of(request), image_id_of(request), tag, condition)
        return Response(status_code=204)


@dataclass(frozen=True, slots=True)
class ImportCalls:
    """Each call is answered when its task is stored; ``…/tasks`` shows the outcome."""

    uploads: Ingester
    imports: ImageImportService
    locations: LocationImportService

    @property
    def methods(self) -> Sequence[str]:
        """The methods that an import call may name."""
        return self.imports.methods

    async def stage(self, request: Request) -> Response:
        """Answer 204 once the bytes are durable, beside the image."""
        return await receive_data(request, self.uploads.stage)

    async def begin(self, request: Request) -> Response:
        """Answer 202 to an import call."""
        caller, image_id = caller_of(request), image_id_of(request)
        asked = await json_object_of(request, "the import's 'method'")
        store = store_of(request)
        if store and not asked.get("stores"):
            asked["stores"] = [store]
        condition = _condition_of(request)
        await self.imports.request(caller, image_id, asked, request_id_of(request), condition)
        return Response(status_code=202)

    async def add_location(self, request: Request) -> Response:
        """Answer 202: the data at the URL is fetched, and becomes the data of the image."""
        caller, image_id = caller_of(request), image_id_of(request)
        asked = await json_object_of(request, "a 'url'")
        condition = _condition_of(request)
        await self.locations.request(caller, image_id, asked, request_id_of(request), condition)
        return Response(status_code=202)

    async def tell(self, request: Request) -> Response:  # noqa: ARG002 - a handler
        """Answer 200 with the available methods."""
        methods = {
            "description": "Import methods available.",
            "type": "array",
            "value": list(self.methods),
        }
        return json_response({"import-methods": methods})


def read_patch(media_type: str, document: Any) -> list[Operation]:
    """Parse a patch. Raises MediaTypeRefused, InvalidRequest, ReadOnlyAttribute."""
    read = _READERS.get(media_type)
    if read is None:
        raise MediaTypeRefused(media_type, _READERS, {"Accept-Patch": ", ".join(_READERS)})
    if not isinstance(document, list) or not all(isinstance(step, dict) for step in document):
        raise InvalidRequest("The body must be an array of operation objects.")
    return [read(step) for step in document]


def _require_patch(media_type: str) -> None:
    """Refuse other media types before the body is read. Raises MediaTypeRefused."""
    read_patch(media_type, [])


def _condition_of(request: Request) -> Precondition | None:
    return image_condition(request.headers, caller_of(request))


def _shown(
    image: Image,
    caller: Caller,
    status: int = 200,
    headers: Mapping[str, str] = NO_HEADERS,
    etag: str | None = None,
) -> Response:
    """``etag``: that of the image, if it was made already."""
    etag = etag or image_etag(image, caller)
    validated = {"ETag": etag, "Cache-Control": REVALIDATED, **headers}
    return json_response(image_json(image, caller), status, validated)


def _read_v2_1(step: dict[str, Any]) -> Operation:
    op = step.get("op")
    if op not in PATCH_OPERATIONS:
        raise InvalidRequest(f"The operation {op!r} is unknown; 'op' {_ONE_OF}.")
    if "path" not in step:
        raise InvalidRequest(f"The operation {op!r} needs a 'path'.")
    return _operation(Action(op), op, step["path"], step)


def _read_v2_0(step: dict[str, Any]) -> Operation:
    named = [op for op in PATCH_OPERATIONS if op in step]
    if len(named) != 1:
        raise InvalidRequest(f"An operation must have one member, and only one, that {_ONE_OF}.")
    (op,) = named
    action = Action.ADD_ABSENT if op == "add" else Action(op)
    return _operation(action, op, step[op], step)


def _operation(action: Action, op: str, path: Any, step: Mapping[str, Any]) -> Operation:
    name = _name_at(path)
    if action is not Action.REMOVE and "value" not in step:
        raise InvalidRequest(f"The operation {op!r} on {path!r} needs a 'value'.")
    return Operation(action, name, step.get("value"))


def _name_at(path: Any) -> str:
    """The attribute that a JSON pointer names."""
    if not isinstance(path, str) or not path.startswith("/"):
        raise InvalidRequest(f"The path {path!r} must be a string that begins with '/'.")
    first, *others = path[1:].split("/")
    if first == "locations":
        raise ReadOnlyAttribute("locations", "cannot be set by clients")
    if others or not first:
        raise InvalidRequest(f"The path {path!r} must name one attribute, as '/name' does.")
    if _BAD_ESCAPE.search(first):
        raise InvalidRequest(f"The path {path!r} has a '~' that is neither '~0' nor '~1'.")
    return first.replace("~1", "/").replace("~0", "~")


_READERS: Mapping[str, Callable[[dict[str, Any]], Operation]] = {V2_0: _read_v2_0, V2_1: _read_v2_1}
