"""What two catalogs must agree on: answers without their moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from imaged.core.blob import Blob
from imaged.core.image import Image
from imaged.core.ledger import Account
from imaged.core.summary import Summary
from imaged.ports.catalog import Catalog


def timeless(image: Image | None) -> Image | None:
    """The image without its moments."""
    if image is None:
        return None
    failure = image.last_failure and replace(image.last_failure, at=None)
    return replace(image, since=None, created_at=None, updated_at=None, last_failure=failure)


def undated(blob: Blob | None) -> Blob | None:
    """The blob without its moment."""
    return blob and replace(blob, due_at=None)


def counted(summary: Summary) -> list[object]:
    """The summary without its moments."""
    return [
        [(one.id, one.version, one.roles) for one in summary.instances],
        [(one.instance, one.image_id, one.status) for one in summary.holdings],
        {status: count for status, count in summary.images.items() if count},
        list(summary.stocks),
        (summary.restorable, summary.restorable_bytes),
        summary.oldest_due_at is None,
    ]


async def accounts(catalog: Catalog) -> list[Account]:
    """Of both owners."""
    return [await catalog.get_account(owner) for owner in ("a", "b")]


def ids(images: Sequence[Image]) -> list[str]:
    """Which images these are."""
    return [image.id for image in images]
