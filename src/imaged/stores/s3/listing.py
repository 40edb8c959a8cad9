"""Lists of the bucket: objects and unfinished uploads.

Names are relative to the root; the store decides which of them are keys.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from imaged.core.errors import StoreError
from imaged.stores.s3.client import Parameters, S3Client


@dataclass(frozen=True, slots=True)
class Upload:
    """An unfinished upload."""

    name: str
    upload_id: str


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
