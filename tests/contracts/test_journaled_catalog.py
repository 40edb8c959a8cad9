"""The journal of statuses: every change is told once, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from contracts.catalog import CatalogContract
from contracts.catalog_facts import AT_ONCE, add_active, add_saving, held_by, new_claim, queued
from contracts.catalog_machine import UtcClock
from contracts.test_memory_catalog import opened
from imaged.catalogs.journal import JournaledCatalog
from imaged.catalogs.memory import MemoryCatalog
from imaged.core.errors import ActivationRefused, ImageExists
from imaged.core.lifecycle import Event, Status
from imaged.core.removal import deactivate, delete, expire, reactivate, restore
from imaged.core.writing import give_back, reserve
from imaged.ports.catalog import Catalog

Log = list[EventDict]


@pytest.fixture
def log() -> Iterator[Log]:
    """What was logged."""
    with capture_logs() as events:
        yield events


@pytest.fixture
def catalog() -> JournaledCatalog:
    """Empty."""
    return JournaledCatalog(MemoryCatalog(UtcClock()))


class TestJournaledCatalog(CatalogContract):
    """It is a catalog itself, and keeps every promise."""

    @pytest.fixture
    def catalog(self) -> Catalog:
        """Empty."""
        return JournaledCatalog(MemoryCatalog(UtcClock()))

    @pytest.fixture
    def fresh(self) -> object:
        """Empty, for each example."""
        return opened


pytestmark = pytest.mark.asyncio


def told(log: Log) -> list[tuple[object, ...]]:
    """From where to where, and because of what."""
    return [(event["from_status"], event["to_status"], event["because"]) for event in log]


async def test_a_life_is_told(catalog: JournaledCatalog, log: Log) -> None:
    """Each change of status is one event, in order, with what brought it about."""
    await add_active(catalog, "i")
    await catalog.modify_image("i", deactivate)
    await catalog.modify_image("i", reactivate)
    await catalog.modify_image("i", delete(delayed=True))
    await catalog.modify_image("i", restore)
    seen = await catalog.modify_image("i", delete(delayed=True))
    await catalog.modify_image("i", expire(seen))
    await catalog.forget("i/1")
    await catalog.forget("i/1")
    await catalog.bury(AT_ONCE, 1)

    assert told(log) == [
        (None, "queued", "created"),
        ("queued", "saving", "upload began"),
        ("saving", "active", "upload succeeded"),
        ("active", "deactivated", "deactivated"),
        ("deactivated", "active", "reactivated"),
        ("active", "pending_delete", "deleted with delay"),
        ("pending_delete", "active", "restored"),
        ("active", "pending_delete", "deleted with delay"),
        ("pending_delete", "deleted", "scrubbed"),
    ]
    assert {event["event"] for event in log} == {"image.status"}
    assert {event["log_level"] for event in log} == {"info"}
    assert {(event["image_id"], event["owner"]) for event in log} == {("i", "a")}


async def test_the_claim_is_told(catalog: JournaledCatalog, log: Log) -> None:
    """Both when work begins and when it ends; not where there was none."""
    claim = new_claim()
    await add_saving(catalog, "i", claim)
    await catalog.modify_image("i", give_back(claim, "lost", final=True))

    assert [event.get("claim_id") for event in log] == [None, str(claim.token), str(claim.token)]


async def test_the_reason_of_a_failure_is_told_once(catalog: JournaledCatalog, log: Log) -> None:
    """Where the work ended without a result, and not again when the next one begins."""
    claim = new_claim()
    await add_saving(catalog, "i", claim)
    await catalog.modify_image("i", give_back(claim, "The disk was full.", final=True))
    await catalog.modify_image("i", delete(delayed=False))

    assert [event.get("reason") for event in log] == [None, None, "The disk was full.", None]


async def test_what_does_not_change_a_status(catalog: JournaledCatalog, log: Log) -> None:
    """Edits, renewals, refusals and reads are not told of."""
    claim = new_claim()
    await add_saving(catalog, "i", claim)
    log.clear()

    await catalog.modify_image("i", held_by(claim, reserve(99)))
    await catalog.modify_image("i", lambda image: replace(image, name="n"))
    await catalog.modify_image("i", lambda image: image)
    await catalog.renew_leases([claim])
    with pytest.raises(ActivationRefused):
        await catalog.modify_image("i", deactivate)
    with pytest.raises(ImageExists):
        await catalog.add_image(queued("i"))
    await catalog.forget("i/1")

    assert log == []


async def test_the_hook_is_told_too(log: Log) -> None:
    """A counter sees what the log sees."""
    seen: list[tuple[Status | None, Status, Event | str]] = []

    def count(before: Status | None, after: Status, because: Event | str) -> None:
        seen.append((before, after, because))

    await add_active(JournaledCatalog(MemoryCatalog(UtcClock()), count), "i")

    assert seen == [
        (None, Status.QUEUED, "created"),
        (Status.QUEUED, Status.SAVING, Event.UPLOAD_BEGAN),
        (Status.SAVING, Status.ACTIVE, Event.UPLOAD_SUCCEEDED),
    ]
    assert [because for _, _, because in told(log)] == [str(because) for _, _, because in seen]
