"""The records of images: the calls of clients, and listing and restoring by operators."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

import structlog

from imaged.core import deletion, edits
from imaged.core.access import (
    Caller,
    may_see_listed,
    permitted_change,
    require_change,
    require_list,
    require_visible,
    sees_all_found,
)
from imaged.core.edits import Operation
from imaged.core.history import ImageHistory
from imaged.core.history_access import history_as_seen_by, require_history
from imaged.core.image import Change, Image
from imaged.core.image_schema import DEFAULT_SCHEMA, ImageSchema
from imaged.core.lifecycle import Status
from imaged.core.limits import require_properties_within
from imaged.core.policy_rules import Rule
from imaged.core.precondition import Precondition, on_condition
from imaged.core.query import Column, Condition, ImagePage, ImageQuery, Operator, Order, page_within
from imaged.ports.image_catalog import ImageCatalog
from imaged.services.scrubber import ScrubberSettings

log = structlog.get_logger()

PENDING_PAGE_SIZE = 100  # waiting images per query
FILTERED_STEP = 1000  # images read at once beyond a page, if a rule is asked for each

PENDING_DELETE_QUERY = ImageQuery(
    conditions=(Condition(Column.STATUS, Operator.EQUAL, Status.PENDING_DELETE),),
    order=(Order(Column.UPDATED_AT),),
)


@dataclass(frozen=True, slots=True)
class RecordLimits:
    """Limits for the size of records."""

    max_properties_bytes: int  # of one image
    max_page_bytes: int  # of a list


@dataclass(slots=True, eq=False)
class Images:
    """All operations except on data. ``settings``, ``limits`` and ``schema`` may be replaced at run
    time.

    Permission is checked on the locked record, and then the condition of the request, if it has
    one. An image that the caller may not see raises ImageNotFound; one that the caller may not
    change raises NotPermitted.
    """

    catalog: ImageCatalog
    settings: ScrubberSettings
    limits: RecordLimits
    schema: ImageSchema = DEFAULT_SCHEMA

    async def create(self, caller: Caller, attributes: Mapping[str, object]) -> Image:
        """Create an image without data. Raises ImageExists and the errors of
        ``edits.new_image``.
        """
        require_change(caller)
        image = self.schema.checked(edits.new_image(caller, str(uuid4()), attributes))
        require_properties_within(image.properties, self.limits.max_properties_bytes)
        return await self.catalog.add_image(image)

    async def show(self, caller: Caller, image_id: str) -> Image:
        """Return the image. Raises ImageNotFound."""
        return require_visible(caller, await self.catalog.get_image(image_id))

    async def history(self, caller: Caller, image_id: str) -> ImageHistory:
        """Return the image's history, as far as the caller may see it. Raises ImageNotFound."""
        history = await self.catalog.get_history(image_id)
        if history.unreadable:
            log.warning("image.history_damaged", image_id=image_id, problems=history.unreadable)
        image = require_history(caller, history.image)
        due_at = deletion.scrub_due_at(image, self.settings.delay)
        return history_as_seen_by(caller, replace(history, scrub_due_at=due_at))

    async def list(self, query: ImageQuery) -> ImagePage:
        """Return a page of the images that the query's caller may see, at most
        ``max_page_bytes``. Raises NotPermitted; ImageNotFound if the caller sees no image with the
        id ``after_id``.
        """
        caller = query.caller
        if caller is None:
            return await self.catalog.list_page(query, self.limits.max_page_bytes)
        require_list(caller)
        if not sees_all_found(caller):
            return await self._list_permitted(caller, await self._behind(caller, query))
        page = await self.catalog.list_page(query, self.limits.max_page_bytes)
        if page.images or query.after_id is None:
            return page
        behind = await self._behind(caller, query)
        return await self.catalog.list_page(behind, self.limits.max_page_bytes)

    async def patch(
        self,
        caller: Caller,
        image_id: str,
        operations: Sequence[Operation],
        condition: Precondition | None = None,
    ) -> Image:
        """Apply all operations, or none. Raises the errors of ``edits.apply``."""
        return await self._change(
            caller,
            Rule.MODIFY_IMAGE,
            image_id,
            lambda image: self._patched(caller, image, operations),
            condition,
        )

    async def delete(
        self, caller: Caller, image_id: str, condition: Precondition | None = None
    ) -> Image:
        """Delete the image, with the delay configured now. Raises ImageProtected."""
        return await self._change(
            caller,
            Rule.DELETE_IMAGE,
            image_id,
            deletion.delete_after(self.settings.delay),
            condition,
        )

    async def deactivate(
        self, caller: Caller, image_id: str, condition: Precondition | None = None
    ) -> Image:
        """Forbid reading the data to all but admins. Raises ActivationRefused."""
        return await self._change(caller, Rule.DEACTIVATE, image_id, deletion.deactivate, condition)

    async def reactivate(
        self, caller: Caller, image_id: str, condition: Precondition | None = None
    ) -> Image:
        """Allow reading the data again. Raises ActivationRefused."""
        return await self._change(caller, Rule.REACTIVATE, image_id, deletion.reactivate, condition)

    async def add_tag(
        self, caller: Caller, image_id: str, tag: str, condition: Precondition | None = None
    ) -> Image:
        """Add a tag; adding an existing one changes nothing. Raises InvalidAttribute, TooMany."""
        return await self._change(
            caller, Rule.MODIFY_IMAGE, image_id, edits.add_tag(tag), condition
        )

    async def remove_tag(
        self, caller: Caller, image_id: str, tag: str, condition: Precondition | None = None
    ) -> Image:
        """Remove a tag. Raises TagNotFound."""
        return await self._change(
            caller, Rule.MODIFY_IMAGE, image_id, edits.remove_tag(tag), condition
        )

    async def restore(self, image_id: str) -> Image:
        """Restore a deleted image, for the operator. Raises ImageNotFound, NotRestorable."""
        return await self.catalog.modify_image(image_id, deletion.restore)

    async def pending(self, page_size: int = PENDING_PAGE_SIZE) -> AsyncIterator[Image]:
        """The images in pending_delete, the longest waiting first, for the operator.

        ``since`` is the time of the deletion; ``is_expired`` means that it cannot be restored any
        more.
        """
        query = first = replace(PENDING_DELETE_QUERY, limit=page_size)
        while images := (await self.list(query)).images:
            for image in images:
                yield image
            query = replace(first, after=images[-1])

    async def _behind(self, caller: Caller, query: ImageQuery) -> ImageQuery:
        """The query with the image behind which it begins. Raises ImageNotFound."""
        if query.after_id is None:
            return query
        after = await self.show(caller, query.after_id)
        return replace(query, after=after, after_id=None)

    async def _list_permitted(self, caller: Caller, query: ImageQuery) -> ImagePage:
        """A page for a caller whose rule the catalog does not know: it is asked for each image, and
        more are read until the page is full, so that it is never short before the end.
        """
        max_bytes, permitted = self.limits.max_page_bytes, list[Image]()
        step = query
        while True:
            page = await self.catalog.list_page(step, max_bytes)
            permitted += [image for image in page.images if may_see_listed(caller, image)]
            is_end = not page.is_cut and len(page.images) < step.limit
            if is_end or len(permitted) >= query.limit:
                return page_within(permitted[: query.limit], max_bytes)
            step = replace(query, after=page.images[-1], limit=FILTERED_STEP)

    def _patched(self, caller: Caller, image: Image, operations: Sequence[Operation]) -> Image:
        after = self.schema.checked(edits.apply(caller, image, operations), image)
        limit_bytes = self.limits.max_properties_bytes
        require_properties_within(after.properties, limit_bytes, image.properties)
        return after

    async def _change(
        self,
        caller: Caller,
        rule: Rule,
        image_id: str,
        change: Change,
        condition: Precondition | None,
    ) -> Image:
        changed = permitted_change(caller, rule, on_condition(condition, change))
        return await self.catalog.modify_image(image_id, changed)
