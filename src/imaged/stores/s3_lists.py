"""Lists of what is in the bucket: objects, and uploads that are not finished."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from imaged.core.keys import is_key
from imaged.stores.s3_calls import Parameters, S3Calls

PAGE = 1000  # names in one answer; S3 gives no more


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that is not finished."""

    key: str
    upload_id: str


async def list_objects(calls: S3Calls, prefix: str) -> AsyncIterator[str]:
    """The keys of whole blobs that begin so."""
    markers: Parameters = {}
    while True:
        page = await calls.make(
            "list_objects_v2", Prefix=calls.settings.root + prefix, MaxKeys=PAGE, **markers
        )
        for found in page.get("Contents", []):
            if (key := _key(calls, found["Key"], prefix)) is not None:
                yield key
        if not page.get("IsTruncated"):
            return
        markers = {"ContinuationToken": page["NextContinuationToken"]}


async def list_uploads(calls: S3Calls, prefix: str) -> AsyncIterator[Upload]:
    """The uploads whose keys begin so."""
    markers: Parameters = {}
    while True:
        page = await calls.make(
            "list_multipart_uploads",
            Prefix=calls.settings.root + prefix,
            MaxUploads=PAGE,
            **markers,
        )
        for found in page.get("Uploads", []):
            if (key := _key(calls, found["Key"], prefix)) is not None:
                yield Upload(key, found["UploadId"])
        if not page.get("IsTruncated"):
            return
        markers = {
            name: page[f"Next{name}"]
            for name in ("KeyMarker", "UploadIdMarker")
            if page.get(f"Next{name}")
        }


def _key(calls: S3Calls, name: str, prefix: str) -> str | None:
    """What an object's name is to us, if it is anything.

    The prefix is looked at again, because some stores take ``a//`` for ``a/``.
    """
    root = calls.settings.root
    key = name.removeprefix(root)
    is_ours = is_key(key) and name == root + key and key.startswith(prefix)
    return key if is_ours else None
