"""``clone``: another image with the same bytes.

Within a store it is instant and needs no space, because bytes never change: both images hold them,
and they are deleted with the last one. Between stores they are copied (``clone_copy``), and from
another service they are fetched (``clone_remote``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from uuid import uuid4

from msgspec import Meta, field

from imaged.core import edits
from imaged.core.access import Caller, require_readable
from imaged.core.errors import InvalidInput, InvalidTransition, StoreError, UnknownStore
from imaged.core.image import Image
from imaged.core.lifecycle import RESTORE_EVENTS
from imaged.core.task import TaskFacts
from imaged.ports.image_catalog import ImageCatalog
from imaged.ports.store import Stores
from imaged.services.tasks.context import TaskContext
from imaged.services.tasks.task_type import (
    Accepted,
    Example,
    ImageId,
    ImageProperties,
    TaskInput,
    TaskResult,
)
from imaged.services.tasks.types.clone_copy import CloneCopier
from imaged.services.tasks.types.clone_metadata import new_clone
from imaged.services.tasks.types.clone_remote import RemoteImageClient

SHARING = "sharing"
ASKING = "asking the other service"

#: The formats of a draft until the other service reports them; the draft is invisible.
PLACEHOLDER_FORMATS = {"disk_format": "raw", "container_format": "bare"}


class CloneInput(TaskInput):
    """The source image, and the attributes that differ. Exactly one of the two sources is given."""

    image_id: ImageId = ""
    source_image_url: Annotated[
        str,
        Meta(description="An image in another Image API v2 service: https://HOST/v2/images/ID."),
    ] = ""
    source_token: Annotated[
        str,
        Meta(
            pattern=r"^[!-~]*\Z",
            max_length=16_384,
            description="Sent to that service as X-Auth-Token. It is never shown, and is deleted "
            "when the task has ended.",
        ),
    ] = ""
    image_properties: ImageProperties = field(default_factory=dict)
    store: Annotated[
        str,
        Meta(description="The store for the data of the clone; default: the store of the source."),
    ] = ""


class CloneResult(TaskResult):
    """The new image."""

    image_id: str


@dataclass(frozen=True, slots=True)
class Clone:
    """The task type."""

    catalog: ImageCatalog
    stores: Stores
    copying: CloneCopier
    remote: RemoteImageClient

    facts = TaskFacts("clone", secrets=frozenset({"source_token"}))
    input = CloneInput
    example = Example(
        CloneInput(
            image_id="5a2dbfcf-9b4a-4b7e-8ba8-7cf1a4a7c0e5",
            image_properties={"name": "debian 13, for tests"},
        ),
        CloneResult(image_id="0c1a6a54-3f53-4f5b-9d0c-4f8c3f7a1b20"),
    )

    async def accept(self, caller: Caller, asked: CloneInput) -> Accepted:
        """Check the source, and describe the new image.

        Raises ImageNotFound, DataForbidden, InvalidTransition, InvalidInput, and the errors of
        ``edits.new_image``.
        """
        self._require_one_source(asked)
        if asked.source_image_url:
            draft = edits.new_image(
                caller, str(uuid4()), {**PLACEHOLDER_FORMATS, **asked.image_properties}
            )
            await self.remote.check(asked.source_image_url, caller)
            return Accepted(new_image=draft)
        source = await self._source(caller, asked.image_id)
        draft = new_clone(caller, source, asked.image_properties)
        return Accepted(source.id, draft, is_brief=_shares(source, asked.store))

    async def run(self, context: TaskContext, asked: CloneInput) -> CloneResult:
        """Share the bytes, copy them, or fetch them."""
        if asked.source_image_url:
            await self._fetch(context, asked)
        else:
            await self._clone(context, asked)
        return CloneResult(image_id=context.image.id)

    async def _clone(self, context: TaskContext, asked: CloneInput) -> None:
        source = await self._source(context.caller, asked.image_id)
        if _shares(source, asked.store):
            await context.progress(SHARING)
            context.share(source)  # the ledger refuses if the bytes were doomed meanwhile
            return
        try:
            await self.copying.copy(context, source, asked.store)
        except StoreError:
            await self._source(context.caller, asked.image_id)  # an error of this call says more
            raise

    async def _fetch(self, context: TaskContext, asked: CloneInput) -> None:
        await context.progress(ASKING, has_own_timeout=True)
        caller, token = context.caller, asked.source_token
        remote = await self.remote.describe(caller, asked.source_image_url, token)
        await context.describe(new_clone(caller, remote.model, asked.image_properties))
        await self.remote.store(context, remote, token, asked.store or None)

    async def _source(self, caller: Caller, image_id: str) -> Image:
        source = require_readable(caller, await self.catalog.get_image(image_id.lower()))
        if source.status not in RESTORE_EVENTS:
            raise InvalidTransition(source.status, "be cloned")
        return source

    def _require_one_source(self, asked: CloneInput) -> None:
        if not asked.image_id and not asked.source_image_url:
            raise InvalidInput("image_id", "is missing, and so is 'source_image_url'")
        if asked.image_id and asked.source_image_url:
            raise InvalidInput("source_image_url", "cannot be given beside 'image_id'")
        if asked.source_token and not asked.source_image_url:
            raise InvalidInput("source_token", "needs 'source_image_url'")
        try:
            self.stores.pick(asked.store or None)
        except UnknownStore as error:
            raise InvalidInput("store", f"is none of {', '.join(self.stores.by_name)}") from error


def _shares(source: Image, store: str) -> bool:
    """Whether the source's bytes are in the store of the clone; empty: any store."""
    return not store or store in {location.store for location in source.locations}
