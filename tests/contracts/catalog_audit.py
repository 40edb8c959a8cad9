"""The audit: whether the ledger, the accounts and the leases agree with the images."""

from __future__ import annotations

from collections import Counter

from contracts.catalog_facts import ALL, STORE, all_images
from imaged.core.blob import BlobState
from imaged.ports.catalog import Catalog


async def audit(catalog: Catalog) -> None:
    """Compare everything with everything, through the port alone."""
    images = await all_images(catalog)
    holders = Counter(key for image in images for key in image.held)
    keys = set(await catalog.list_keys(STORE))
    referred_to = {location.key for image in images for location in image.locations}
    assert holders.keys() | referred_to <= keys

    claimed = {key for image in images if image.claim is not None for key in image.held}
    for key in keys:
        blob = await catalog.get_blob(key)
        assert blob is not None
        assert blob.holders == holders[key], blob
        assert (blob.state is BlobState.DOOMED) == (holders[key] == 0), blob
        assert (blob.state is BlobState.WRITING) <= (key in claimed), blob
    doomed = {blob.key for blob in await catalog.peek_doomed(ALL)}
    assert doomed == {key for key in keys if not holders[key]}

    charges: Counter[str] = Counter()
    for image in images:
        charges[image.owner] += image.charge_bytes
        assert not image.is_expired or image.locations, image
    for owner, used_bytes in charges.items():
        assert (await catalog.get_account(owner)).used_bytes == used_bytes, owner

    claims = {image.claim for image in images if image.claim is not None}
    assert set(await catalog.renew_leases(claims)) == claims
