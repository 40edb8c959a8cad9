"""The task that turns staged bytes into an image's data.

An attempt is claimed work like an upload. When its worker dies, the task is pending again, so
many times; what was staged stays until an attempt succeeds or the last one is lost.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import uuid4

import structlog
from structlog.contextvars import bound_contextvars

from imaged.core.access import Caller, by_owner
from imaged.core.errors import (
    BlobGone,
    CatalogError,
    ClaimLost,
    ImagedError,
    QuotaExceeded,
    TooLarge,
)
from imaged.core.image import Image
from imaged.core.limits import MIB
from imaged.core.task import Task
from imaged.core.writing import begin_attempt, begin_import, refuse_attempt, store_data
from imaged.ports.catalog import Catalog
from imaged.ports.store import Stores
from imaged.services.intake import Intake

log = structlog.get_logger()

BATCH = 10


class Imports:
    """Accepts import calls, and works on them."""

    def __init__(self, catalog: Catalog, stores: Stores, intake: Intake) -> None:
        self._catalog = catalog
        self._stores = stores
        self._intake = intake

    async def ask(self, caller: Caller, image_id: str) -> Image:
        """Accept the call; a worker, here or elsewhere, will pick its task up."""
        change = begin_import(Task(str(uuid4())))
        return await self._catalog.modify_image(image_id, by_owner(caller, change))

    async def run_due(self) -> int:
        """Work on the tasks that wait; return how many images became active."""
        count = 0
        for image_id in await self._catalog.find_pending_tasks(BATCH):
            with bound_contextvars(image_id=image_id):
                count += await self._attempt(image_id)
        return count

    async def _attempt(self, image_id: str) -> bool:
        image = await self._catalog.get_image(image_id)
        size_bytes = None if image.staged is None else image.staged.size_bytes
        try:
            async with aclosing(self._staged_bytes(image)) as body:
                await self._intake.write(
                    image_id, body, begin_attempt, store_data, announced_bytes=size_bytes
                )
        except (QuotaExceeded, TooLarge) as error:  # perhaps it could not even begin
            await self._refuse(image_id, str(error))
        except CatalogError:
            raise
        except ImagedError as error:  # told to the task already, or taken by somebody else
            log.info("import.attempt_ended", error=str(error))
        else:
            return True
        return False

    async def _refuse(self, image_id: str, reason: str) -> None:
        try:
            await self._catalog.modify_image(image_id, refuse_attempt(reason))
        except ClaimLost:  # it had begun, and its failure is told already
            log.debug("import.refused_already")

    async def _staged_bytes(self, image: Image) -> AsyncGenerator[bytes]:
        if image.staged is None:
            raise BlobGone(image.id)
        async with self._stores.pick(image.staged.store).open(image.staged.key) as reader:
            while chunk := await reader.read(MIB):
                yield chunk
