"""Imports into existing images: staging, the import call, and added locations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from imaged.api.bodies import json_object_of, json_response
from imaged.api.image_data import receive_data
from imaged.api.requests import caller_of, image_id_of, request_id_of, store_of
from imaged.services.ingest import Ingester
from imaged.services.tasks.types.api_image_import import ImageImportService
from imaged.services.tasks.types.location_import import LocationImportService


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
        await self.imports.request(caller, image_id, asked, request_id_of(request))
        return Response(status_code=202)

    async def add_location(self, request: Request) -> Response:
        """Answer 202: the data at the URL is fetched, and becomes the data of the image."""
        caller, image_id = caller_of(request), image_id_of(request)
        asked = await json_object_of(request, "a 'url'")
        await self.locations.request(caller, image_id, asked, request_id_of(request))
        return Response(status_code=202)

    async def tell(self, request: Request) -> Response:  # noqa: ARG002 - a handler
        """Answer 200 with the available methods."""
        methods = {
            "description": "Import methods available.",
            "type": "array",
            "value": list(self.methods),
        }
        return json_response({"import-methods": methods})
