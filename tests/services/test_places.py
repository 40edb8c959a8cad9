"""Whose a place is: marked where it is new, compared everywhere else, taken on purpose only."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import anyio
import pytest

from imaged.catalogs.memory import MemoryCatalog
from imaged.core.errors import CatalogMissing, StoreError, WrongPlace
from imaged.core.keys import make_key
from imaged.core.places import Marker, PlaceKind, Verdict
from imaged.services.places import Places, look_into, require_nothing_held
from imaged.stores.memory import MarkedMemory
from support.node import A, image_id
from support.site import Site

pytestmark = pytest.mark.anyio


def stray(number: int) -> str:
    """A key that no catalog knows."""
    return make_key(image_id(number), UUID(int=number))


async def test_an_empty_place_is_marked_once(site: Site) -> None:
    """The catalog knows it then, and every later start finds the same."""
    places = Places(site.catalog)

    first = await places.identify(site.near.place, site.near)
    again = await places.identify(site.near.place, site.near)

    (known,) = await site.catalog.list_places()
    assert first == again == site.near.place.marker
    assert (known.place_id, known.name, known.is_marked) == (first.place_id, "near", True)
    assert first.catalog_id == await site.catalog.get_id()


async def test_two_catalogs_never_have_one_place(site: Site) -> None:
    """The second is told whose it is, and nothing of the place has changed."""
    marker = await Places(site.catalog).identify(site.near.place, site.near)
    other = MemoryCatalog(site.clock)

    with pytest.raises(WrongPlace, match=f"another catalog.*{marker.catalog_id}"):
        await Places(other).identify(site.near.place, site.near)

    assert site.near.place.marker == marker
    assert not await other.list_places()


async def test_an_unmounted_place_is_not_marked_anew(site: Site) -> None:
    """Known, and without its marker."""
    await Places(site.catalog).identify(site.near.place, site.near)
    site.near.place.marker = None

    with pytest.raises(WrongPlace, match="lost its marker"):
        await Places(site.catalog).identify(site.near.place, site.near)

    assert site.near.place.marker is None


async def test_a_store_of_a_version_without_markers_is_taken_over(site: Site) -> None:
    """Its blobs have rows; a few others are strays, as ever."""
    for number in range(1, 4):
        await site.active(image_id(number))
    site.near.blobs[stray(9)] = b"left over"

    marker = await Places(site.catalog).identify(site.near.place, site.near)

    assert site.near.place.marker == marker


async def test_a_new_catalog_does_not_take_a_store_with_blobs(site: Site) -> None:
    """Nobody knows whose they are, and they would be strays."""
    site.near.blobs[stray(9)] = b"somebody's"

    with pytest.raises(WrongPlace, match="1 of the 1"):
        await Places(site.catalog).identify(site.near.place, site.near)

    assert site.near.place.marker is None
    assert not await site.catalog.list_places()


async def test_an_empty_folder_is_not_taken_where_blobs_are_expected(site: Site) -> None:
    """The first start of a version with markers finds the disk not mounted."""
    await site.active(A)
    site.near.blobs.clear()

    with pytest.raises(WrongPlace, match="is empty, and the catalog has 1 blob there"):
        await Places(site.catalog).identify(site.near.place, site.near)


async def test_an_older_copy_of_the_catalog_knows_its_places_again(site: Site) -> None:
    """It was made before the place was: its id is the same."""
    marker = await Places(site.catalog).identify(site.near.place, site.near)
    site.catalog.places.clear()

    assert await Places(site.catalog).examine(site.near.place) is Verdict.FORGOTTEN
    assert await Places(site.catalog).identify(site.near.place, site.near) == marker
    assert [one.place_id for one in await site.catalog.list_places()] == [marker.place_id]


async def test_a_start_that_died_before_the_marker_was_written_is_gone_on_with(site: Site) -> None:
    """The catalog knows the place, and not that it is marked: it is marked with the same id."""
    marker = await Places(site.catalog).identify(site.near.place, site.near)
    (known,) = await site.catalog.list_places()
    await site.catalog.replace_place(replace(known, is_marked=False))
    site.near.place.marker = None

    again = await Places(site.catalog).identify(site.near.place, site.near)

    assert again.place_id == marker.place_id
    assert [one.is_marked for one in await site.catalog.list_places()] == [True]


async def test_another_catalog_that_is_faster_wins(site: Site) -> None:
    """Both found the place empty at the same moment: one of them has it, the other is told."""
    other = MemoryCatalog(site.clock)

    class Overtaken(MarkedMemory):
        async def write_marker(self, marker: Marker, *, replace: bool = False) -> Marker:
            self.marker = site.near.place.marker  # it came in between
            return await super().write_marker(marker, replace=replace)

    await Places(other).identify(site.near.place, site.near)

    with pytest.raises(WrongPlace, match="another catalog"):
        await Places(site.catalog).identify(Overtaken("near"), site.near)


async def test_an_operator_takes_a_place_over(site: Site) -> None:
    """Whatever it holds; the one whose it was is refused from then on."""
    other = MemoryCatalog(site.clock)
    before = await Places(other).identify(site.near.place, site.near)
    site.near.place.expect(before)

    marker = await Places(site.catalog).adopt(site.near.place)

    assert await Places(site.catalog).identify(site.near.place, site.near) == marker
    with pytest.raises(WrongPlace):
        await Places(other).identify(site.near.place, site.near)
    with pytest.raises(WrongPlace, match="another place than when imaged started"):
        await site.near.check()


async def test_to_examine_changes_nothing(site: Site) -> None:
    """It says what a start would do, or refuse."""
    assert await Places(site.catalog).examine(site.near.place, site.near) is Verdict.UNMARKED
    assert site.near.place.marker is None
    assert not await site.catalog.list_places()

    site.near.blobs[stray(9)] = b"somebody's"
    with pytest.raises(WrongPlace):
        await Places(site.catalog).examine(site.near.place, site.near)


async def test_scratch_is_of_one_machine(site: Site) -> None:
    """Each has its own: the catalog remembers none, and the marker still tells whose it is."""
    here, there = MarkedMemory("scratch"), MarkedMemory("scratch")
    for place in (here, there):
        place.kind = PlaceKind.SCRATCH
        await Places(site.catalog).identify(place)

    assert not await site.catalog.list_places()
    with pytest.raises(WrongPlace, match="another catalog"):
        await Places(MemoryCatalog(site.clock)).identify(here)


@pytest.mark.parametrize("change", ["unmounted", "another disk"])
async def test_nothing_is_done_in_a_wrong_place(site: Site, change: str) -> None:
    """Not written, not deleted, not listed, and no blob is missing because of it."""
    image = await site.active(A)
    store, key = site.near, image.locations[0].key
    store.place.expect(await Places(site.catalog).identify(store.place, store))
    marker, blobs = store.place.marker, dict(store.blobs)
    assert marker is not None
    store.place.marker = None if change == "unmounted" else replace(marker, place_id=uuid4())
    store.blobs.clear()
    node = site.node()
    await site.queued(image_id(0xC3))

    with pytest.raises(WrongPlace):
        await node.upload(image_id(0xC3))
    with pytest.raises(StoreError):
        await node.reconcile.run_due()
    with pytest.raises(WrongPlace):
        async with store.open(key):
            pass
    await node.delete(A, delayed=False)
    assert (await node.scrubber.run_due()).deleted == 0
    assert not store.blobs
    assert not store.partial

    store.place.marker, store.blobs = marker, blobs
    async with store.open(key):
        pass


async def test_the_scrubber_goes_on_when_the_right_disk_is_back(site: Site) -> None:
    """What could not be deleted was put off."""
    store = site.near
    store.place.expect(await Places(site.catalog).identify(store.place, store))
    marker = store.place.marker
    node = site.node()
    await site.active(A)
    await node.delete(A, delayed=False)
    store.place.marker = None
    assert (await node.scrubber.run_due()).failed == 1
    assert store.blobs

    store.place.marker = marker
    await anyio.sleep(timedelta(hours=1).total_seconds())

    assert (await node.scrubber.run_due()).deleted == 1
    assert not store.blobs


async def test_a_new_catalog_is_not_made_over_data(site: Site) -> None:
    """What is held, where, and whose it is; and the ways out."""
    marker = await Places(site.catalog).identify(site.near.place, site.near)
    site.far.blobs[stray(9)] = b"somebody's"
    holdings = [await look_into(store.place, store) for store in (site.near, site.far)]

    with pytest.raises(CatalogMissing) as refused:
        require_nothing_held("sqlite:////srv/catlog.db", holdings)

    said = str(refused.value)
    assert "no catalog in sqlite:////srv/catlog.db" in said
    assert (
        f"'near' (memory) holds 0 blobs, and its marker names the catalog {marker.catalog_id}"
        in said
    )
    assert "'far' (memory) holds 1 blob, and it has no marker" in said
    assert "imaged migrate --new-catalog" in said


async def test_a_new_catalog_is_made_beside_empty_stores(site: Site) -> None:
    """Nothing is lost by it."""
    holdings = [await look_into(store.place, store) for store in (site.near, site.far)]

    require_nothing_held("sqlite:////srv/catalog.db", holdings)
