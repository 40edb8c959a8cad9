"""The reconciler and the scrubber on a real folder leave foreign files alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from imaged.core.blob import make_key
from imaged.ports.store import Stores
from imaged.process.uptime import read_uptime
from imaged.services.reconciler import ReconcileSettings, StoreReconciler
from imaged.services.scrubber import BlobScrubber, ScrubberSettings
from imaged.stores.filesystem.settings import FilesystemSettings
from imaged.stores.filesystem.store import FilesystemStore
from imaged.testing.memory_catalog import MemoryCatalog
from support.settings import clock_guard, configured

IMAGE = "a1a1a1a1-a1a1-41a1-81a1-a1a1a1a1a1a1"
FOREIGN = (
    "notes.txt",
    "lost+found/#1234",
    "a1/README",
    f"a1/{IMAGE}",
    f"a1/{IMAGE}.backup",
    f"b2/{make_key(IMAGE, UUID(int=7))[3:]}",  # a key, but in the folder of another one
    ".tmp/editor.swp",
)


class StillClock:
    """A clock that stands still."""

    def now(self) -> datetime:
        """Return it."""
        return datetime(2026, 11, 20, tzinfo=UTC)


@pytest.mark.asyncio
async def test_a_foreign_file_is_untouched(tmp_path: Path) -> None:
    """Only files whose names are keys are ever doomed or deleted."""
    store = FilesystemStore(
        "local", configured(FilesystemSettings, path=tmp_path, min_free_bytes=0)
    )
    await store.check()
    for name in FOREIGN:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("foreign")
    stray = tmp_path / make_key(IMAGE, UUID(int=1))
    stray.write_text("stray")
    catalog, stores = MemoryCatalog(StillClock()), Stores("local", {"local": store})

    settings = configured(ReconcileSettings, quarantine=timedelta(0))
    report = await StoreReconciler(catalog, stores, settings).run(apply=True, max_strays=1)
    clock = clock_guard(catalog, read_uptime)
    scrubbed = await BlobScrubber(catalog, stores, configured(ScrubberSettings), clock).run_due()

    assert (report.keys, len(report.strays), scrubbed.deleted) == (1, 1, 1)
    assert not stray.exists()
    assert all((tmp_path / name).read_text() == "foreign" for name in FOREIGN)
