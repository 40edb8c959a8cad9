"""Data that a client puts beside an image, to be imported later."""

from __future__ import annotations

from collections.abc import AsyncIterable

from imaged.core.access import Caller, claimed_by_owner
from imaged.core.image import ClaimedChange, Image, Location
from imaged.core.uploading import begin_staging, stage_data
from imaged.services.ingest import Ingester


class Staging:
    """``PUT …/stage``."""

    def __init__(self, ingest: Ingester) -> None:
        self._ingest = ingest

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
        """Keep the body for an import. Raises what ``Uploads.upload`` raises."""

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
