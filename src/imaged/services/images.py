"""The records of images: what clients write on them, and what operators see and take back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

from imaged.core import edits, removal
from imaged.core.access import Caller, by_owner, require_visible, require_writer
from imaged.core.edits import Operation
from imaged.core.image import Change, Image
from imaged.core.lifecycle import Status
from imaged.core.query import Column, Condition, ImageQuery, Operator, Order
from imaged.ports.catalog import Catalog
from imaged.services.scrubber import ScrubberSettings

PAGE = 100  # images that wait, fetched at once

WAITING = ImageQuery(
    conditions=(Condition(Column.STATUS, Operator.EQUAL, Status.PENDING_DELETE),),
    order=(Order(Column.UPDATED_AT),),
    limit=PAGE,
)


class Images:
    """All but the data. ``settings`` may be replaced: the next delete goes by the new ones.

    Whether a caller may do it is decided on the record that is locked. An image that he may not
    see raises ImageNotFound; one that he may not change raises NotPermitted.
    """

    def __init__(self, catalog: Catalog, settings: ScrubberSettings) -> None:
        self._catalog = catalog
        self.settings = settings

    async def create(self, caller: Caller, attributes: Mapping[str, object]) -> Image:
        """Create an image without data. Raises ImageExists, and what ``edits.draft`` refuses."""
        require_writer(caller)
        return await self._catalog.add_image(edits.draft(caller, str(uuid4()), attributes))

    async def show(self, caller: Caller, image_id: str) -> Image:
        """Return the image."""
        return require_visible(caller, await self._catalog.get_image(image_id))

    async def list(self, query: ImageQuery) -> Sequence[Image]:
        """Return a page of what the query's caller may see."""
        return await self._catalog.list_images(query)

    async def patch(self, caller: Caller, image_id: str, operations: Sequence[Operation]) -> Image:
        """Change all that the operations say, or nothing. Raises what ``edits.apply`` refuses."""
        return await self._change(
            caller, image_id, lambda image: edits.apply(caller, image, operations)
        )

    async def delete(self, caller: Caller, image_id: str) -> Image:
        """Take the image from its users, with the delay configured now. Raises ImageProtected."""
        is_delayed = self.settings.delay > timedelta(0)
        return await self._change(caller, image_id, removal.delete(delayed=is_delayed))

    async def deactivate(self, caller: Caller, image_id: str) -> Image:
        """Forbid its data to all but admins. Raises ActivationRefused."""
        return await self._change(caller, image_id, removal.deactivate)

    async def reactivate(self, caller: Caller, image_id: str) -> Image:
        """Allow its data again. Raises ActivationRefused."""
        return await self._change(caller, image_id, removal.reactivate)

    async def add_tag(self, caller: Caller, image_id: str, tag: str) -> Image:
        """Add a tag; one that is there is fine. Raises InvalidAttribute, TooMany."""
        return await self._change(caller, image_id, edits.add_tag(tag))

    async def remove_tag(self, caller: Caller, image_id: str, tag: str) -> Image:
        """Remove a tag. Raises TagNotFound."""
        return await self._change(caller, image_id, edits.remove_tag(tag))

    async def restore(self, image_id: str) -> Image:
        """Take a deleted image back, for the operator. Raises ImageNotFound, NotRestorable."""
        return await self._catalog.modify_image(image_id, removal.restore)

    async def pending(self) -> AsyncIterator[Image]:
        """What waits in pending_delete, since the longest first, for the operator.

        ``since`` is when it was deleted; ``is_expired`` says that it cannot be restored any more.
        """
        page: Sequence[Image] = await self._catalog.list_images(WAITING)
        while page:
            for image in page:
                yield image
            page = await self._catalog.list_images(replace(WAITING, after=page[-1]))

    async def _change(self, caller: Caller, image_id: str, change: Change) -> Image:
        return await self._catalog.modify_image(image_id, by_owner(caller, change))
