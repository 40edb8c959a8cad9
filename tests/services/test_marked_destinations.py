"""Export destinations and scratch: used only where they are the right places."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
from structlog.testing import capture_logs

from contracts.store_bodies import body
from imaged.core.errors import CatalogError, ExportError, ScratchError
from imaged.core.place_marker import PlaceKind
from imaged.exports.conventions import temporary_name
from imaged.ports.disk_image import ScratchFolder
from imaged.ports.export import ExportFile
from imaged.services.marked_places import MarkedDestination, MarkedScratch, PlaceRegistry
from imaged.services.tasks.cleanup import UNKNOWN_TASK_GRACE, LeftoverCleaner
from imaged.testing.memory_catalog import MemoryCatalog
from imaged.testing.memory_store import MemoryMarker
from support.cluster import Cluster
from support.faults import catalog_fails, nth, override_calls
from support.memory_destination import MemoryDestination

pytestmark = pytest.mark.anyio

DEAD = ExportFile(str(UUID(int=1)), UUID(int=2), "dead.raw")  # of an unknown task
Call = Callable[[MarkedDestination], Coroutine[Any, Any, object]]
GATED: dict[str, Call] = {
    "check": lambda it: it.check(),
    "has_delivered": lambda it: it.has_delivered(DEAD),
    "deliver": lambda it: it.deliver(ExportFile(str(uuid4()), uuid4(), "new.raw"), body(b"bytes")),
    "leftovers": lambda it: it.leftovers(),
    "remove": lambda it: it.remove(DEAD.task_id),
}


class Attempts:
    """Is a Scratch; one attempt has files in it."""

    def __init__(self) -> None:
        self.left = {DEAD.attempt}
        self.opened = 0

    @asynccontextmanager
    async def folder(self, attempt: UUID) -> AsyncIterator[ScratchFolder]:
        """It is counted, and not used here."""
        del attempt
        self.opened += 1
        yield None  # type: ignore[misc]

    async def attempts(self) -> Collection[UUID]:
        """Those that have files."""
        return {*self.left}

    async def remove(self, attempt: UUID) -> None:
        """They have none any more."""
        self.left.discard(attempt)


def place_of(kind: PlaceKind) -> MemoryMarker:
    """A place without a marker."""
    place = MemoryMarker("archive")
    place.kind = kind
    return place


def shelf_with_leftovers() -> MemoryDestination:
    """An unknown task left something."""
    return MemoryDestination(unfinished={temporary_name(DEAD): b"half"})


@pytest.mark.parametrize("call", GATED)
async def test_the_destination_of_another_catalog_is_left_alone(
    cluster: Cluster, call: str
) -> None:
    """Nothing is written, removed or even listed: every task there would be unknown."""
    place, shelf = place_of(PlaceKind.EXPORTS), shelf_with_leftovers()
    marker = await PlaceRegistry(MemoryCatalog(cluster.clock)).identify(place)
    destination = MarkedDestination(shelf, place, PlaceRegistry(cluster.catalog))

    for _ in range(2):  # it is not believed the second time
        with pytest.raises(ExportError, match="'archive' belongs to another catalog"):
            await GATED[call](destination)

    assert (shelf.files, [*shelf.unfinished]) == ({}, [temporary_name(DEAD)])
    assert place.marker == marker
    assert not await cluster.catalog.list_places()


@pytest.mark.parametrize("call", GATED)
async def test_a_destination_that_was_unmounted_is_left_alone(cluster: Cluster, call: str) -> None:
    """Also after it was the right one; and it is used again as soon as it is back."""
    place, shelf = place_of(PlaceKind.EXPORTS), shelf_with_leftovers()
    destination = MarkedDestination(shelf, place, PlaceRegistry(cluster.catalog))
    await destination.check()
    marker, place.marker = place.marker, None

    with pytest.raises(ExportError, match=r"lost its marker.*--kind exports"):
        await GATED[call](destination)

    assert (shelf.files, [*shelf.unfinished]) == ({}, [temporary_name(DEAD)])
    assert place.marker is None
    place.marker = marker
    await GATED[call](destination)


async def test_a_destination_is_marked_when_it_is_needed_first(cluster: Cluster) -> None:
    """A daemon starts without its archive: building one makes no call."""
    place = place_of(PlaceKind.EXPORTS)
    destination = MarkedDestination(MemoryDestination(), place, PlaceRegistry(cluster.catalog))
    assert place.marker is None

    await destination.check()

    (known,) = await cluster.catalog.list_places()
    assert place.marker is not None
    assert (known.kind, known.place_id) == (PlaceKind.EXPORTS, place.marker.place_id)
    assert known.is_marked


async def test_a_catalog_that_was_away_is_asked_again(cluster: Cluster) -> None:
    """A place that could not be compared is not taken for the right one."""
    place = place_of(PlaceKind.EXPORTS)
    await PlaceRegistry(MemoryCatalog(cluster.clock)).identify(place)
    failing = nth(cluster.catalog.list_places, 1, before=catalog_fails)
    catalog = override_calls(cluster.catalog, list_places=failing)
    destination = MarkedDestination(MemoryDestination(), place, PlaceRegistry(catalog))

    with pytest.raises(CatalogError):
        await destination.check()

    with pytest.raises(ExportError, match="another catalog"):
        await destination.check()


async def test_the_sweeper_removes_nothing_from_another_catalog(cluster: Cluster) -> None:
    """And it tells the operator; its own destinations are swept all the same."""
    foreign, own = shelf_with_leftovers(), shelf_with_leftovers()
    own.name = "own"
    place = place_of(PlaceKind.EXPORTS)
    await PlaceRegistry(MemoryCatalog(cluster.clock)).identify(place)
    own_place, places = MemoryMarker("own"), PlaceRegistry(cluster.catalog)
    own_place.kind = PlaceKind.EXPORTS
    shelves = [MarkedDestination(foreign, place, places), MarkedDestination(own, own_place, places)]
    scratch = MarkedScratch(Attempts(), place_of(PlaceKind.SCRATCH), places)

    cleaner = LeftoverCleaner(cluster.catalog, scratch, shelves)
    with capture_logs() as log:
        await cleaner.run_due()
        await anyio.sleep(UNKNOWN_TASK_GRACE.total_seconds())
        await cleaner.run_due()

    assert [*foreign.unfinished] == [temporary_name(DEAD)]
    assert own.unfinished == {}
    (told,) = [one for one in log if one["event"] == "sweep.failed"]
    assert "belongs to another catalog" in told["error"]


async def test_scratch_of_another_catalog_is_left_alone(cluster: Cluster) -> None:
    """No folder is made there, and no attempt is listed or removed."""
    place, within = place_of(PlaceKind.SCRATCH), Attempts()
    await PlaceRegistry(MemoryCatalog(cluster.clock)).identify(place)
    scratch = MarkedScratch(within, place, PlaceRegistry(cluster.catalog))

    with pytest.raises(ScratchError, match="another catalog"):
        async with scratch.folder(uuid4()):
            pass
    for call in (scratch.attempts, lambda: scratch.remove(DEAD.attempt)):
        with pytest.raises(ScratchError, match="another catalog"):
            await call()

    assert (within.opened, within.left) == (0, {DEAD.attempt})
