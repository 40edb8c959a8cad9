"""What is in the bucket: how objects and unfinished uploads are found, listed, copied and removed.

Names are relative to the root; the store decides which of them are keys.

An abort of an upload does not stop parts that are in flight: they may be stored after it, and need
another abort. So the abort is repeated until no part is listed. An upload whose id was never
learned, because the answer was lost or the process died, is found by its key. Parts that arrive
even later are removed when the ledger's row is checked again (``Store.settles_after``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio

from imaged.core.errors import BlobMissing, StoreError, WriteDiscarded
from imaged.stores.s3.client import Parameters, S3Client, S3Response
from imaged.stores.s3.settings import MAX_PARTS, S3Settings

MAX_ABORTS = 5
CompletedPart = dict[str, Any]  # what the completion of an upload says of a part


@dataclass(frozen=True, slots=True)
class Upload:
    """An unfinished upload."""

    name: str
    upload_id: str


async def find_object(
    client: S3Client, name: str, attempts: int | None = None
) -> S3Response | None:
    """The answer to HEAD for a complete object; None if there is none.

    ``attempts``: see ``S3Client.call``. A missing bucket is reported as itself.
    """
    try:
        return await client.call("head_object", name, attempts=attempts)
    except BlobMissing:
        await client.call("head_bucket", attempts=attempts)
        return None


async def list_names(client: S3Client, prefix: str) -> set[str]:
    """The names of objects and of unfinished uploads with this prefix."""
    uploads = {upload.name async for upload in list_uploads(client, prefix)}
    return uploads | {name async for name in list_objects(client, prefix)}


async def list_objects(client: S3Client, prefix: str) -> AsyncIterator[str]:
    """The names of complete objects with this prefix."""
    markers: Parameters = {}
    while True:
        page = await client.call(
            "list_objects_v2",
            Prefix=client.settings.root + prefix,
            MaxKeys=client.settings.tuning.list_page_size,
            **markers,
        )
        for found in page.get("Contents", []):
            if (name := _below_root(client, found["Key"], prefix)) is not None:
                yield name
        if not page["IsTruncated"]:  # missing in the answer of an ordinary web page
            return
        markers = _advanced(client, markers, {"ContinuationToken": page["NextContinuationToken"]})


async def list_uploads(client: S3Client, prefix: str) -> AsyncIterator[Upload]:
    """The uploads whose names have this prefix."""
    markers: Parameters = {}
    while True:
        page = await client.call(
            "list_multipart_uploads",
            Prefix=client.settings.root + prefix,
            MaxUploads=client.settings.tuning.list_page_size,
            **markers,
        )
        for found in page.get("Uploads", []):
            if (name := _below_root(client, found["Key"], prefix)) is not None:
                yield Upload(name, found["UploadId"])
        if not page["IsTruncated"]:
            return
        next_markers = {
            name: page[f"Next{name}"]
            for name in ("KeyMarker", "UploadIdMarker")
            if page.get(f"Next{name}")
        }
        markers = _advanced(client, markers, next_markers)


def _advanced(client: S3Client, markers: Parameters, next_markers: Parameters) -> Parameters:
    """The marker of the next page, if it differs from this one's. Raises StoreError.

    Swift 2.38 sends no marker behind a page of one upload.
    """
    if not next_markers or next_markers == markers:
        why = "gives lists that do not advance: it says that more follow, but not from where"
        raise StoreError(client.store, why)
    return next_markers


def _below_root(client: S3Client, found: str, prefix: str) -> str | None:
    """The name of an object relative to the root, if it is below the root and has the prefix.

    The prefix is checked again, because some stores take ``a//`` for ``a/``.
    """
    root = client.settings.root
    name = found.removeprefix(root)
    return name if found == root + name and name.startswith(prefix) else None


class S3CopySource:
    """A blob to be copied by the server, from another key at the same endpoint.

    Up to ``copy_piece_bytes`` are copied by one call, more in pieces as parts of an upload: S3
    refuses a single copy of more than 5 GiB, and a much smaller one may exceed the read timeout.
    The credentials of the target store need the right to read the source. ``found`` is the answer
    to HEAD.
    """

    def __init__(self, settings: S3Settings, key: str, found: S3Response) -> None:
        self.size_bytes: int = found["ContentLength"]
        self.piece_bytes: int = max(
            settings.tuning.copy_piece_bytes, -(-self.size_bytes // MAX_PARTS)
        )
        #: The parameters of a call that copies it only if it is unchanged.
        self.parameters: dict[str, Any] = {
            "CopySource": {"Bucket": settings.bucket, "Key": settings.root + key},
            "CopySourceIfMatch": found["ETag"],
        }

    @property
    def is_small(self) -> bool:
        """Whether one call is enough."""
        return self.size_bytes <= self.piece_bytes

    async def copy(self, client: S3Client, key: str, metadata: Mapping[str, str]) -> bool:
        """Copy all of it by one call; returns whether the answer proves it. Raises StoreError."""
        answer = await client.call(
            "copy_object",
            key,
            Metadata=metadata,
            MetadataDirective="REPLACE",
            **self.parameters,
        )
        return bool(answer.get("CopyObjectResult", {}).get("ETag"))

    async def copy_piece(
        self, client: S3Client, key: str, upload_id: str, piece: range, number: int
    ) -> CompletedPart:
        """Copy one piece as a part of an upload. Raises StoreError."""
        answer = await client.call(
            "upload_part_copy", key, UploadId=upload_id, PartNumber=number, **self.part(piece)
        )
        return {"PartNumber": number, "ETag": answer.within("CopyPartResult")["ETag"]}

    def part(self, piece: range) -> dict[str, Any]:
        """The parameters of a call that copies a piece: S3 takes no range of a small object."""
        if len(piece) == self.size_bytes:
            return self.parameters
        return {**self.parameters, "CopySourceRange": f"bytes={piece.start}-{piece.stop - 1}"}

    def pieces(self) -> list[range]:
        """The offsets of each piece, in bytes."""
        return [
            range(start, min(start + self.piece_bytes, self.size_bytes))
            for start in range(0, self.size_bytes, self.piece_bytes)
        ]


class UploadAborter:
    """Aborts uploads and removes objects. Raises StoreError."""

    def __init__(self, client: S3Client) -> None:
        self._client = client

    async def abort(self, key: str, upload_id: str) -> None:
        """Abort one upload; a missing one is no error."""
        pauses = self._client.settings.tuning.abort_pauses
        for number in range(MAX_ABORTS):
            if number:
                await anyio.sleep(pauses.pause(number).total_seconds())
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
