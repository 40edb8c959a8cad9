"""How every database treats steps that expand and steps that contract."""

from __future__ import annotations

from datetime import timedelta
from importlib.metadata import version

import pytest

from contracts.catalog_releases import AFTER_NEXT, NEXT, TODAY, Releases
from contracts.catalog_samples import AN_HOUR
from imaged.catalogs import migrations
from imaged.catalogs.connect import inspect_catalog, migrate_catalog, open_catalog
from imaged.core.claim import InstanceId
from imaged.core.errors import CatalogError, CatalogTooNew
from imaged.core.summary import Instance

LATEST_REVISION = TODAY[-1].revision


async def beat(url: str, name: str, is_of: str) -> None:
    """Register an instance of this version."""
    catalog = await open_catalog(url)
    await catalog.register_instance(Instance(InstanceId(name), is_of, ("api",)), AN_HOUR)
    await catalog.close()


async def leave(url: str, name: str) -> None:
    """Unregister it."""
    catalog = await open_catalog(url)
    await catalog.unregister_instance(InstanceId(name))
    await catalog.close()


class StepKindsContract:
    """A driver's test class provides ``url``, a catalog of the current version."""

    pytestmark = pytest.mark.asyncio

    async def test_versions_side_by_side(self, url: str, releases: Releases) -> None:
        """The first half serves both; the second waits, and then the older version is refused."""
        expand, contract = releases.become(NEXT)
        done = await migrate_catalog(url)
        assert (done.before, done.now, done.waiting) == (LATEST_REVISION, expand, 1)
        await inspect_catalog(url)
        releases.today()
        await inspect_catalog(url)
        assert (await migrate_catalog(url, contract=True)).now == expand

        releases.become(NEXT)
        done = await migrate_catalog(url, contract=True)
        assert (done.before, done.now, done.waiting) == (expand, contract, 0)
        await inspect_catalog(url)
        releases.today()
        for attempt in (inspect_catalog, open_catalog, migrate_catalog):
            with pytest.raises(
                CatalogTooNew, match=rf"revision {contract}; this .* {LATEST_REVISION}"
            ):
                await attempt(url)

    async def test_an_older_instance_is_in_the_way(self, url: str, releases: Releases) -> None:
        """While it was here recently; those of this version are no problem."""
        expand, contract = releases.become(NEXT)
        await migrate_catalog(url)
        await beat(url, "mine", version("imaged"))
        await beat(url, "older", "0.0.1")

        with pytest.raises(CatalogError, match=r"older \(0\.0\.1\)\. Upgrade") as error:
            await migrate_catalog(url, contract=True)
        assert "mine" not in str(error.value)
        assert (await migrate_catalog(url)).now == expand

        await leave(url, "older")
        assert (await migrate_catalog(url, contract=True)).now == contract

    async def test_an_instance_that_was_killed(
        self, url: str, releases: Releases, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It did not unregister; after a while it is ignored."""
        await beat(url, "older", "0.0.1")
        _, contract = releases.become(NEXT)
        monkeypatch.setattr(migrations, "ALIVE_WITHIN", timedelta(0))

        assert (await migrate_catalog(url, contract=True)).now == contract

    async def test_a_second_half_that_a_later_step_needs(
        self, url: str, releases: Releases
    ) -> None:
        """If it was left out, it is applied now, under the same condition; then this version is too
        old.
        """
        await beat(url, "older", "0.0.1")
        *_, last = releases.become(AFTER_NEXT)
        with pytest.raises(CatalogError, match="older"):
            await migrate_catalog(url)

        releases.today()
        await leave(url, "older")
        releases.become(AFTER_NEXT)
        done = await migrate_catalog(url)
        assert (done.now, done.waiting) == (last, 0)
        releases.today()
        with pytest.raises(CatalogTooNew):
            await inspect_catalog(url)
