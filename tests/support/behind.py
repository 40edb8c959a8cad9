"""Looking behind a running daemon's back: its store's files, its ledger's rows."""

from __future__ import annotations

from imaged.catalogs.sqlite import open_sqlite
from support.client import Client
from support.daemon import Daemon, until

UNFINISHED = {"saving", "uploading", "importing"}


def bytes_in_store(daemon: Daemon) -> set[str]:
    """The keys of all files in the store, whole or unfinished."""
    files = (path.name for path in daemon.images.rglob("*") if path.is_file())
    return {f"{name[:2]}/{name}" for name in files}


async def keys_in_ledger(daemon: Daemon) -> set[str]:
    """The keys of all rows of the ledger."""
    catalog = await open_sqlite(f"sqlite:///{daemon.catalog}")
    try:
        return set(await catalog.list_keys("local"))
    finally:
        await catalog.close()


async def require_settled(client: Client) -> None:
    """Wait until no work is unfinished; the leases of the dead must be over by then."""

    async def settled() -> bool:
        return not any(image["status"] in UNFINISHED for image in await client.list_all())

    await until(settled, "an image is stuck", within_seconds=15)
