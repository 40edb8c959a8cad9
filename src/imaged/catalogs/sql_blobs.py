"""The calls of an SQL catalog for the ledger of blobs; each is one transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from functools import partial

from imaged.catalogs import blobs, scrubbed_blobs
from imaged.catalogs.change_log import ChangeLog, bound_actor
from imaged.catalogs.database import Database
from imaged.core.blob import Blob
from imaged.core.image import Image, Location


class SqlBlobs:
    """Keeps the ledger in a database, and logs the images that end with their bytes."""

    database: Database
    change_log: ChangeLog

    async def get_blob(self, key: str) -> Blob | None:
        """Return the ledger's row, if it exists."""
        return await self.database.read(partial(blobs.get, key=key))

    async def get_block_checksums(self, key: str, page: int) -> bytes | None:
        """Return a page of the checksums of a blob's blocks, if they are recorded."""
        return await self.database.read(partial(blobs.get_checksums, key=key, page=page))

    async def set_block_checksums(self, key: str, checksums: bytes) -> None:
        """Record the checksums of all blocks of a complete blob."""
        replace = partial(blobs.replace_checksums, key=key, checksums=checksums)
        await self.database.write(replace)

    async def take_doomed(self, limit: int, busy_for: timedelta) -> Sequence[Blob]:
        """Take blobs that are due, the longest due first. They are due again after ``busy_for``."""
        return await self.database.write(partial(blobs.take_doomed, limit=limit, busy_for=busy_for))

    async def list_doomed(self, limit: int) -> Sequence[Blob]:
        """Doomed blobs, due or not, the longest due first; takes none."""
        return await self.database.read(partial(blobs.list_doomed, limit=limit))

    async def record_upload_id(self, key: str, upload_id: str) -> None:
        """Record the store's own id of a write. Raises BlobGone."""
        await self.database.write(partial(blobs.record_upload_id, key=key, upload_id=upload_id))

    async def recheck_later(self, key: str, after: timedelta) -> None:
        """Record that these bytes are deleted but more may arrive: due again ``after`` this."""
        await self.database.write(partial(blobs.recheck_later, key=key, after=after))

    async def reschedule(self, key: str, why: str) -> Blob | None:
        """Record that deleting failed. Returns the row; None if it is gone."""
        return await self.database.write(partial(blobs.reschedule, key=key, why=why))

    async def remove_blob(self, key: str) -> Image | None:
        """Record that these bytes are deleted. Returns the image that this deleted, if any."""
        deleted = await self.database.write(partial(blobs.remove_blob, key=key, by=bound_actor()))
        if deleted is not None:
            self.change_log.image_scrubbed(deleted)
        return deleted

    async def remove_blobs(self, keys: Collection[str]) -> Collection[str]:
        """Record that these bytes are deleted; returns the keys of rows that others use now."""
        remove = partial(scrubbed_blobs.remove, keys=keys, by=bound_actor())
        removal = await self.database.write(remove)
        for image in removal.deleted:
            self.change_log.image_scrubbed(image)
        return removal.left

    async def add_stray(self, location: Location, quarantine: timedelta) -> bool:
        """Doom bytes that have no row in the ledger. Returns whether they had none."""
        add = partial(blobs.add_stray, location=location, quarantine=quarantine)
        return await self.database.write(add)

    async def list_keys(self, store: str, prefix: str = "") -> Collection[str]:
        """Every key of the ledger in this store with this prefix."""
        return await self.database.read(partial(blobs.list_keys, store=store, prefix=prefix))

    async def list_kept(self, store: str, prefix: str = "") -> Collection[str]:
        """Those of the keys whose bytes are complete and referenced."""
        return await self.database.read(partial(blobs.list_kept, store=store, prefix=prefix))
