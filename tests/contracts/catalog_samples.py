"""Images, claims and places for the contract, and short ways to put images into a state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar
from uuid import uuid4

from hypothesis import HealthCheck, Phase

from imaged.core.blob import Blob
from imaged.core.claim import Claim, InstanceId
from imaged.core.deletion import delete, expire
from imaged.core.image import Change, ClaimedChange, Content, Image, Location
from imaged.core.query import ImageQuery
from imaged.core.uploading import begin_staging, begin_upload, stage_data, store_data
from imaged.ports.catalog import Catalog

T = TypeVar("T")

STORE = "local"
NO_DELAY = timedelta(0)
AN_HOUR = timedelta(hours=1)
ALL = 1_000_000

#: Properties of a contract: each driver's class runs them with its own fixtures.
UNCHECKED = (
    HealthCheck.function_scoped_fixture,
    HealthCheck.differing_executors,
    HealthCheck.too_slow,
)

#: Shrinking a failure takes minutes if each example opens a file; the first one must suffice.
UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)


def known(value: T | None) -> T:
    """A value that must be there."""
    assert value is not None
    return value


def new_claim(lease: timedelta = timedelta(seconds=60), owner: str = "node") -> Claim:
    """A claim that equals no other."""
    return Claim(uuid4(), InstanceId(owner), lease)


def place(key: str, size_bytes: int = 10) -> Location:
    """A location of bytes."""
    return Location(STORE, key, size_bytes)


def content(size_bytes: int = 10) -> Content:
    """The content of bytes."""
    return Content(
        size_bytes, "md5 of them", "sha512", "sha512 of them", size_bytes * 2, "a notice"
    )


def queued(image_id: str, owner: str = "a") -> Image:
    """An image that may take data."""
    return Image(id=image_id, owner=owner, disk_format="raw", container_format="bare")


def held_by(claim: Claim, change: ClaimedChange) -> Change:
    """A change that only this claim's holder may make."""
    return lambda image: change(image, claim)


def tag(name: str) -> Change:
    """A change that leaves a trace each time it is committed."""
    return lambda image: replace(image, tags=(*image.tags, name))


async def act(
    catalog: Catalog, image_id: str, claim: Claim, change: ClaimedChange, *more: ClaimedChange
) -> Image:
    """Make changes that only this claim's holder may make; returns the image after the last."""
    image = await catalog.modify_image(image_id, held_by(claim, change))
    return await act(catalog, image_id, claim, *more) if more else image


async def add_saving(
    catalog: Catalog, image_id: str, claim: Claim, size_bytes: int = 10, owner: str = "a"
) -> Image:
    """An image whose bytes ``<id>/1`` are being written."""
    await catalog.add_image(queued(image_id, owner))
    began = held_by(claim, begin_upload(place(f"{image_id}/1", size_bytes)))
    return await catalog.modify_image(image_id, began)


async def add_active(
    catalog: Catalog, image_id: str, size_bytes: int = 10, owner: str = "a"
) -> Image:
    """An image whose bytes ``<id>/1`` are complete."""
    claim = new_claim()
    await add_saving(catalog, image_id, claim, size_bytes, owner)
    return await act(catalog, image_id, claim, store_data(content(size_bytes)))


async def add_staged(catalog: Catalog, image_id: str) -> Image:
    """An image whose bytes ``<id>/1`` are staged."""
    await catalog.add_image(queued(image_id))
    staging = begin_staging(place(f"{image_id}/1"))
    return await act(catalog, image_id, new_claim(), staging, stage_data(content()))


async def add_expired(catalog: Catalog, image_id: str) -> Image:
    """An image whose record waits for the removal of its bytes ``<id>/1``."""
    await add_active(catalog, image_id)
    seen = await catalog.modify_image(image_id, delete(delayed=True))
    return await catalog.modify_image(image_id, expire(seen))


async def add_deleted(catalog: Catalog, image_id: str) -> Image:
    """An image with only its record left."""
    await catalog.add_image(replace(queued(image_id), tags=("t",), properties={"p": "v"}))
    return await catalog.modify_image(image_id, delete(delayed=False))


async def list_images(catalog: Catalog, query: ImageQuery) -> Sequence[Image]:
    """The whole page."""
    return (await catalog.list_page(query, 2**40)).images


async def all_images(catalog: Catalog) -> list[Image]:
    """Every image, whatever its status."""
    return list(await list_images(catalog, ImageQuery(limit=ALL)))


async def blob_of(catalog: Catalog, key: str) -> Blob:
    """The row of the ledger, which must exist."""
    return known(await catalog.get_blob(key))


async def due_keys(catalog: Catalog, busy_for: timedelta = NO_DELAY) -> list[str]:
    """The keys of the blobs that are due now; they are taken."""
    return [blob.key for blob in await catalog.take_doomed(ALL, busy_for)]
