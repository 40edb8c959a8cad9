"""Aborts multipart uploads so that no part is left, also uploads whose id is unknown.

An abort does not stop parts that are in flight: they may be stored after it, and need another
abort. So the abort is repeated until no part is listed. An upload whose id was never learned,
because the answer was lost or the process died, is found by its key. Parts that arrive even later
are removed when the ledger's row is checked again (``Store.settles_after``).
"""

from __future__ import annotations

from contextlib import suppress

import anyio

from imaged.core.errors import BlobMissing, StoreError, WriteDiscarded
from imaged.core.retry_policy import RetryPolicy
from imaged.stores.s3.client import S3Client
from imaged.stores.s3.listing import list_uploads

MAX_ABORTS = 5


class UploadAborter:
    """Aborts uploads. Raises StoreError."""

    def __init__(self, client: S3Client) -> None:
        self._client = client

    async def abort(self, key: str, upload_id: str) -> None:
        """Abort one upload; a missing one is no error."""
        tuning = self._client.settings.tuning
        retries = RetryPolicy(
            first_pause=tuning.first_abort_pause, longest_pause=tuning.longest_pause
        )
        for number in range(MAX_ABORTS):
            if number:
                await anyio.sleep(retries.pause(number).total_seconds())
            if await self._is_ended(key, upload_id):
                return
        why = f"still lists parts of an upload of {key} after {MAX_ABORTS} aborts"
        raise StoreError(self._client.store, why)

    async def abort_all(self, key: str, but: str | None = None) -> None:
        """Abort every listed upload of this key, except one if given."""
        for _ in range(MAX_ABORTS):
            found = await self.list_upload_ids(key) - {but or ""}
            if not found:
                return
            for upload_id in found:
                await self.abort(key, upload_id)
        why = f"still lists uploads of {key} after {MAX_ABORTS} rounds of aborts"
        raise StoreError(self._client.store, why)

    async def remove(self, key: str) -> None:
        """Remove an object; a missing one is no error."""
        with suppress(BlobMissing):  # some servers answer 204 then, others NoSuchKey
            await self._client.call("delete_object", key)

    async def list_upload_ids(self, key: str) -> set[str]:
        """The ids of the uploads of exactly this key."""
        return {
            found.upload_id async for found in list_uploads(self._client, key) if found.name == key
        }

    async def _is_ended(self, key: str, upload_id: str) -> bool:
        try:
            await self._client.call("abort_multipart_upload", key, UploadId=upload_id)
            left = await self._client.call("list_parts", key, UploadId=upload_id, MaxParts=1)
        except WriteDiscarded:  # it is gone, or it was completed and Swift still lists its parts
            return True
        return not (left["IsTruncated"] or left.get("Parts"))
