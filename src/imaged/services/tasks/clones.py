"""A clone: another image of the same bytes, instant and free, because bytes never change."""

from __future__ import annotations

from imaged.core.access import Caller, by_owner, require_readable
from imaged.core.errors import InvalidTransition
from imaged.core.image import Image
from imaged.core.lifecycle import RESTORES
from imaged.core.writing import share_data
from imaged.ports.catalog import Catalog


class Clones:
    """Clones within a store."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def clone(self, caller: Caller, source_id: str, image_id: str) -> Image:
        """Give a queued image the bytes of another one.

        The ledger refuses if they are doomed meanwhile. Raises ImageNotFound, DataForbidden,
        InvalidTransition, BlobGone, QuotaExceeded.
        """
        source = require_readable(caller, await self._catalog.get_image(source_id))
        if source.status not in RESTORES:
            raise InvalidTransition(source.status, "be cloned")
        return await self._catalog.modify_image(image_id, by_owner(caller, share_data(source)))
