"""Writes the data that clients upload: as the data of an image, or staged for an import."""

from __future__ import annotations

from collections.abc import AsyncIterable

from imaged.core.access import Caller, claimed_by_owner
from imaged.core.image import ClaimedChange, Image, Location
from imaged.core.uploading import begin_staging, begin_upload, stage_data, store_data
from imaged.services.ingest import Ingester


class Uploads:
    """``PUT …/file`` and ``PUT …/stage``."""

    def __init__(self, ingest: Ingester) -> None:
        self._ingest = ingest

    async def upload(
        self,
        caller: Caller,
        image_id: str,
        body: AsyncIterable[bytes],
        announced_bytes: int | None = None,
        store: str | None = None,
        *,
        replaces: bool = False,
    ) -> Image:
        """Make the body the data of a queued image; on return, the bytes are durable.

        ``replaces``: another file on purpose, after a broken upload. Raises the errors of
        ``Ingester.write``, and ImageNotFound, NotPermitted, InvalidTransition, FormatsUnset and
        RetryMismatch before anything is read.
        """

        def begin(location: Location) -> ClaimedChange:
            return claimed_by_owner(caller, begin_upload(location, announced_bytes))

        return await self._ingest.write(
            image_id,
            body,
            begin,
            store_data,
            announced_bytes=announced_bytes,
            store=store,
            replaces=replaces,
        )

    async def stage(
        self,
        caller: Caller,
        image_id: str,
        body: AsyncIterable[bytes],
        announced_bytes: int | None = None,
        store: str | None = None,
        *,
        replaces: bool = False,
    ) -> Image:
        """Keep the body for an import. Raises the errors of ``upload``."""

        def begin(location: Location) -> ClaimedChange:
            return claimed_by_owner(
                caller, begin_staging(location, announced_bytes, replaces=replaces)
            )

        return await self._ingest.write(
            image_id,
            body,
            begin,
            stage_data,
            announced_bytes=announced_bytes,
            store=store,
            replaces=replaces,
        )
