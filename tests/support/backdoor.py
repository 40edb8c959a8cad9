"""Looking behind a running daemon's back: at its store's bytes, at its ledger's rows."""

from __future__ import annotations

from typing import Any

from imaged.config import load
from imaged.daemon.drivers import open_catalog
from support.client import Client
from support.daemon import Daemon
from support.waiting import until

UNFINISHED_STATUSES = {"saving", "uploading", "importing"}
LEDGER_LIMIT = 100_000


async def keys_in_ledger(daemon: Daemon) -> set[str]:
    """The keys of all rows of the ledger, but of those that only wait for a last look."""
    async with open_catalog(load(daemon.config, daemon.backend.environment)) as catalog:
        keys = set(await catalog.list_keys(daemon.backend.store))
        return keys - {
            blob.key for blob in await catalog.list_doomed(LEDGER_LIMIT) if blob.is_swept
        }


async def bytes_are_those_of(daemon: Daemon, image_ids: set[str]) -> bool:
    """Whether store and ledger both have the bytes of these images, and no others."""
    keys = await daemon.backend.keys()
    return {key[3:39] for key in keys} == image_ids and keys == await keys_in_ledger(daemon)


async def require_settled(client: Client) -> dict[str, Any]:
    """Wait until no work is unfinished; the images then, by id.

    The leases of the dead must be over by then. What clients left behind may still be read, and
    begin for a moment, so another reading may show more.
    """
    images: dict[str, Any] = {}

    async def settled() -> bool:
        nonlocal images
        images = {image["id"]: image for image in await client.list_all()}
        return not any(image["status"] in UNFINISHED_STATUSES for image in images.values())

    await until(settled, "an image is stuck", within_seconds=15)
    return images
