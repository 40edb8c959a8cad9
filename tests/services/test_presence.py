"""Presence: an instance is there as long as it says so."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest
from structlog.testing import capture_logs

from imaged.core.claim import InstanceId
from imaged.core.errors import CatalogError
from imaged.core.summary import Instance
from imaged.ports.catalog import Catalog
from imaged.services.loops import repeat
from imaged.services.presence import (
    LEAVING_SECONDS,
    LONGEST_TROUBLE,
    MOST_TROUBLES,
    REMEMBERED_LEASES,
    Presence,
)
from support.faults import catalog_fails, detour, hangs
from support.node import LEASE, RENEW_EVERY
from support.site import Site
from support.virtual_time import START, elapsed

pytestmark = pytest.mark.anyio

SILENCE = REMEMBERED_LEASES * LEASE.total_seconds()


def present(site: Site, name: str = "one", catalog: Catalog | None = None) -> Presence:
    """An instance that has not said anything yet."""
    instance = Instance(InstanceId(name), "1.0", ("api", "scrubber"))
    return Presence(catalog or site.catalog, instance, LEASE)


async def names(site: Site) -> list[str]:
    """Who is there."""
    return [instance.id for instance in (await site.catalog.summarize()).instances]


async def test_an_instance_is_one_row(site: Site) -> None:
    """With its version, its roles, since when it is there, and when it was seen."""
    presence = present(site)
    site.start(repeat("presence", presence.beat, lambda: RENEW_EVERY))

    await anyio.sleep(1000)
    (instance,) = (await site.catalog.summarize()).instances

    assert (instance.id, instance.version, instance.roles) == ("one", "1.0", ("api", "scrubber"))
    assert instance.started_at == START
    assert instance.seen_at is not None
    assert site.now() - instance.seen_at < 2 * RENEW_EVERY


async def test_a_silent_one_is_forgotten_after_a_while(site: Site) -> None:
    """By whoever is still there; before that, operators see that it is silent."""
    await present(site, "dead").beat()
    living = present(site, "living")

    await anyio.sleep(SILENCE - 1)
    await living.beat()
    assert await names(site) == ["dead", "living"]
    await anyio.sleep(1)
    await living.beat()

    assert await names(site) == ["living"]


async def test_one_that_ends_leaves_at_once(site: Site) -> None:
    """The others stay."""
    leaving, staying = present(site, "leaving"), present(site, "staying")
    await leaving.beat()
    await staying.beat()

    await leaving.leave()

    assert await names(site) == ["staying"]


async def test_to_leave_a_catalog_that_fails_is_no_crash(site: Site) -> None:
    """It is told, and the process ends as it should."""
    presence = present(site, catalog=detour(site.catalog, leave=catalog_fails))
    await presence.beat()

    with capture_logs() as lines:
        await presence.leave()

    assert [line["event"] for line in lines] == ["instance.leave_failed"]


async def test_to_leave_a_catalog_that_hangs_takes_not_for_ever(site: Site) -> None:
    """Somebody waits for the end of the process."""
    presence = present(site, catalog=detour(site.catalog, leave=hangs))

    await presence.leave()

    assert elapsed() == LEAVING_SECONDS


async def test_to_leave_works_when_all_is_cancelled(site: Site) -> None:
    """The end of a process cancels everything."""
    presence = present(site)
    await presence.beat()

    with anyio.CancelScope() as scope:
        scope.cancel()
        await presence.leave()

    assert await names(site) == []


async def test_a_catalog_that_fails_ends_no_beat(site: Site) -> None:
    """The next one comes, and the row is there again."""
    fails = True

    async def beat(*arguments: object) -> None:
        if fails:
            raise CatalogError("The catalog is away.")
        await site.catalog.beat(*arguments)  # type: ignore[arg-type]

    presence = present(site, catalog=detour(site.catalog, beat=beat))
    with capture_logs() as lines:
        site.start(repeat("presence", presence.beat, lambda: timedelta(seconds=10)))
        await anyio.sleep(60)
        fails = False
        await anyio.sleep(20)

    assert [line["event"] for line in lines] == ["duty.failed"]
    assert await names(site) == ["one"]


async def test_a_beat_says_what_troubles_there_are(site: Site) -> None:
    """As they are then; so many, and each so long, that the row stays small."""
    troubles = ["x" * 1000] * 50
    instance = Instance(InstanceId("one"), "1.0", ())
    presence = Presence(site.catalog, instance, LEASE, lambda: troubles)

    await presence.beat()
    (ill,) = (await site.catalog.summarize()).instances
    troubles.clear()
    await presence.beat()
    (well,) = (await site.catalog.summarize()).instances

    assert ill.troubles == ("x" * LONGEST_TROUBLE,) * MOST_TROUBLES
    assert well.troubles == ()
