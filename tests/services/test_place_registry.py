"""Owners of places: new places are marked, others compared, and adopted only on purpose."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import anyio
import pytest

from contracts.store_bodies import body
from imaged.config.stores import StoresSection
from imaged.core.blob import make_key
from imaged.core.errors import CatalogMissing, StoreError, StoreFull, WrongPlace
from imaged.core.place_marker import Marker, PlaceKind, PlaceState
from imaged.daemon.drivers import require_nothing_held, take_inventory
from imaged.daemon.places import open_stores
from imaged.services.marked_places import PlaceRegistry
from imaged.testing.memory_catalog import MemoryCatalog
from imaged.testing.memory_store import MemoryMarker
from support.cluster import Cluster
from support.node import A, image_id

pytestmark = pytest.mark.anyio


def stray(number: int) -> str:
    """A key that no catalog knows."""
    return make_key(image_id(number), UUID(int=number))


async def test_an_empty_place_is_marked_once(cluster: Cluster) -> None:
    """The catalog knows it then, and every later start finds the same."""
    places = PlaceRegistry(cluster.catalog)
    first = await places.identify(cluster.near.place, cluster.near)
    again = await places.identify(cluster.near.place, cluster.near)
    (known,) = await cluster.catalog.list_places()
    assert first == again == cluster.near.place.marker
    assert (known.place_id, known.name, known.is_marked) == (first.place_id, "near", True)
    assert first.catalog_id == await cluster.catalog.get_id()


async def test_a_full_store_is_opened_and_marked_at_a_later_start(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads, and the deletes that free space, must work until then."""
    store, places = cluster.near, PlaceRegistry(cluster.catalog)
    folder = {"type": "filesystem", "path": "/nonexistent"}
    section = StoresSection.model_validate({"default": "near", "near": folder})

    async def refuse(_marker: Marker) -> None:
        raise StoreFull("near", "has no room")

    with monkeypatch.context() as full:
        full.setattr(store.place, "write_marker", refuse)
        opened = await open_stores(section, {"near": store}, places)
    assert opened.pick("near") is store
    assert store.place.marker is None

    await open_stores(section, {"near": store}, places)
    assert store.place.marker is not None


async def test_two_catalogs_never_have_one_place(cluster: Cluster) -> None:
    """The second gets the owner, and the place is unchanged."""
    marker = await PlaceRegistry(cluster.catalog).identify(cluster.near.place, cluster.near)
    other = MemoryCatalog(cluster.clock)
    with pytest.raises(WrongPlace, match=f"another catalog.*{marker.catalog_id}"):
        await PlaceRegistry(other).identify(cluster.near.place, cluster.near)
    assert cluster.near.place.marker == marker
    assert not await other.list_places()


async def test_an_unmounted_place_is_not_marked_anew(cluster: Cluster) -> None:
    """Known, and without its marker."""
    await PlaceRegistry(cluster.catalog).identify(cluster.near.place, cluster.near)
    cluster.near.place.marker = None
    with pytest.raises(WrongPlace, match="lost its marker"):
        await PlaceRegistry(cluster.catalog).identify(cluster.near.place, cluster.near)
    assert cluster.near.place.marker is None


async def test_a_store_of_a_version_without_markers_is_taken_over(cluster: Cluster) -> None:
    """Its blobs have rows; a few others are strays, as ever."""
    for number in range(1, 4):
        await cluster.active(image_id(number))
    cluster.near.blobs[stray(9)] = b"left over"
    marker = await PlaceRegistry(cluster.catalog).identify(cluster.near.place, cluster.near)
    assert cluster.near.place.marker == marker


async def test_a_new_catalog_does_not_take_a_store_with_blobs(cluster: Cluster) -> None:
    """Their owner is unknown, and they would be strays."""
    cluster.near.blobs[stray(9)] = b"foreign"
    with pytest.raises(WrongPlace, match="1 of the 1"):
        await PlaceRegistry(cluster.catalog).identify(cluster.near.place, cluster.near)
    assert cluster.near.place.marker is None
    assert not await cluster.catalog.list_places()


async def test_an_empty_folder_is_not_taken_where_blobs_are_expected(cluster: Cluster) -> None:
    """The first start of a version with markers finds the disk not mounted."""
    await cluster.active(A)
    cluster.near.blobs.clear()
    with pytest.raises(WrongPlace, match="is empty, and the catalog has 1 blob there"):
        await PlaceRegistry(cluster.catalog).identify(cluster.near.place, cluster.near)


async def test_an_older_copy_of_the_catalog_knows_its_places_again(cluster: Cluster) -> None:
    """It was made before the place was: its id is the same."""
    marker = await PlaceRegistry(cluster.catalog).identify(cluster.near.place, cluster.near)
    cluster.catalog.places.clear()
    assert await PlaceRegistry(cluster.catalog).examine(cluster.near.place) is PlaceState.FORGOTTEN
    assert await PlaceRegistry(cluster.catalog).identify(cluster.near.place, cluster.near) == marker
    assert [one.place_id for one in await cluster.catalog.list_places()] == [marker.place_id]


async def test_a_start_that_died_before_the_marker_was_written_is_gone_on_with(
    cluster: Cluster,
) -> None:
    """The catalog knows the place, and not that it is marked: it is marked with the same id."""
    marker = await PlaceRegistry(cluster.catalog).identify(cluster.near.place, cluster.near)
    (known,) = await cluster.catalog.list_places()
    await cluster.catalog.replace_place(replace(known, is_marked=False))
    cluster.near.place.marker = None
    again = await PlaceRegistry(cluster.catalog).identify(cluster.near.place, cluster.near)
    assert again.place_id == marker.place_id
    assert [one.is_marked for one in await cluster.catalog.list_places()] == [True]


async def test_another_catalog_that_is_faster_wins(cluster: Cluster) -> None:
    """Both found the place empty at the same moment: one of them has it, the other is told."""
    other = MemoryCatalog(cluster.clock)

    class Overtaken(MemoryMarker):
        async def write_marker(self, marker: Marker, *, replace: bool = False) -> Marker:
            self.marker = cluster.near.place.marker  # it came in between
            return await super().write_marker(marker, replace=replace)

    await PlaceRegistry(other).identify(cluster.near.place, cluster.near)

    with pytest.raises(WrongPlace, match="another catalog"):
        await PlaceRegistry(cluster.catalog).identify(Overtaken("near"), cluster.near)


async def test_an_operator_takes_a_place_over(cluster: Cluster) -> None:
    """Whatever it holds; its former catalog is refused from then on."""
    other = MemoryCatalog(cluster.clock)
    before = await PlaceRegistry(other).identify(cluster.near.place, cluster.near)
    cluster.near.place.expect(before)

    marker = await PlaceRegistry(cluster.catalog).adopt(cluster.near.place)

    assert await PlaceRegistry(cluster.catalog).identify(cluster.near.place, cluster.near) == marker
    with pytest.raises(WrongPlace):
        await PlaceRegistry(other).identify(cluster.near.place, cluster.near)
    with pytest.raises(WrongPlace, match="another place than when imaged started"):
        await cluster.near.check()


async def test_to_examine_changes_nothing(cluster: Cluster) -> None:
    """It says what a start would do, or refuse."""
    assert (
        await PlaceRegistry(cluster.catalog).examine(cluster.near.place, cluster.near)
        is PlaceState.UNMARKED
    )
    assert cluster.near.place.marker is None
    assert not await cluster.catalog.list_places()

    cluster.near.blobs[stray(9)] = b"foreign"
    with pytest.raises(WrongPlace):
        await PlaceRegistry(cluster.catalog).examine(cluster.near.place, cluster.near)


async def test_scratch_is_of_one_machine(cluster: Cluster) -> None:
    """Each has its own: the catalog records none, and the marker still names the owner."""
    here, there = MemoryMarker("scratch"), MemoryMarker("scratch")
    for place in (here, there):
        place.kind = PlaceKind.SCRATCH
        await PlaceRegistry(cluster.catalog).identify(place)
    assert not await cluster.catalog.list_places()
    with pytest.raises(WrongPlace, match="another catalog"):
        await PlaceRegistry(MemoryCatalog(cluster.clock)).identify(here)


@pytest.mark.parametrize("change", ["unmounted", "another disk"])
async def test_nothing_is_done_in_a_wrong_place(cluster: Cluster, change: str) -> None:
    """Not written, not deleted, not listed, and no blob is missing because of it."""
    image = await cluster.active(A)
    store, key = cluster.near, image.locations[0].key
    store.place.expect(await PlaceRegistry(cluster.catalog).identify(store.place, store))
    marker, blobs = store.place.marker, dict(store.blobs)
    assert marker is not None
    store.place.marker = None if change == "unmounted" else replace(marker, place_id=uuid4())
    store.blobs.clear()
    node = cluster.node()
    await cluster.queued(image_id(0xC3))

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


@pytest.mark.parametrize("is_away", [False, True])
async def test_a_start_expects_the_marker(cluster: Cluster, *, is_away: bool) -> None:
    """Also that of a worker while the disk is not mounted."""
    places, store = PlaceRegistry(cluster.catalog), cluster.near
    await places.identify(store.place, store)
    if is_away:
        store.place.marker = None
    table = {"type": "filesystem", "path": "/srv/images"}
    section = StoresSection.model_validate({"default": "near", "near": table})

    stores = await open_stores(section, {"near": store}, places, allow_unavailable=True)
    store.place.marker = None

    with pytest.raises(WrongPlace):
        await stores.pick("near").put(stray(1), body(b"bytes"))


async def test_the_scrubber_goes_on_when_the_right_disk_is_back(cluster: Cluster) -> None:
    """What could not be deleted was put off."""
    store = cluster.near
    store.place.expect(await PlaceRegistry(cluster.catalog).identify(store.place, store))
    marker = store.place.marker
    node = cluster.node()
    await cluster.active(A)
    await node.delete(A, delayed=False)
    store.place.marker = None
    assert (await node.scrubber.run_due()).failed == 1
    assert store.blobs

    store.place.marker = marker
    await anyio.sleep(timedelta(hours=1).total_seconds())

    assert (await node.scrubber.run_due()).deleted == 1
    assert not store.blobs


async def test_a_new_catalog_is_not_made_over_data(cluster: Cluster) -> None:
    """The data, the place, its owner, and the ways out."""
    marker = await PlaceRegistry(cluster.catalog).identify(cluster.near.place, cluster.near)
    cluster.far.blobs[stray(9)] = b"foreign"
    stores = (cluster.near, cluster.far)
    inventories = [await take_inventory(store.place, store) for store in stores]

    with pytest.raises(CatalogMissing) as refused:
        require_nothing_held("sqlite:////srv/catlog.db", inventories)

    said = str(refused.value)
    assert "no catalog in sqlite:////srv/catlog.db" in said
    assert (
        f"'near' (memory) holds 0 blobs, and its marker names the catalog {marker.catalog_id}"
        in said
    )
    assert "'far' (memory) holds 1 blob, and it has no marker" in said
    assert "imaged migrate --from URL" in said
    assert "imaged migrate --new-catalog" in said


async def test_a_damaged_marker_counts_as_data(cluster: Cluster) -> None:
    """A catalog may own the place, although it has no blobs."""

    class Damaged(MemoryMarker):
        async def read_marker(self) -> Marker | None:
            return self.parse(b"damaged")

    inventory = await take_inventory(Damaged("near"), cluster.near)

    with pytest.raises(CatalogMissing, match="holds 0 blobs, and its marker cannot be read"):
        require_nothing_held("sqlite:////srv/catalog.db", [inventory])


async def test_a_new_catalog_is_made_beside_empty_stores(cluster: Cluster) -> None:
    """Nothing is lost by it."""
    stores = (cluster.near, cluster.far)
    inventories = [await take_inventory(store.place, store) for store in stores]
    require_nothing_held("sqlite:////srv/catalog.db", inventories)
