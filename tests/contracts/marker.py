"""The contract of places with a marker; every driver of the port inherits it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID, uuid4

import pytest

from contracts.store_backdoors import Backdoor
from contracts.store_bodies import all_keys, body, new_key, read_all
from imaged.core.errors import MarkerRefused, WrongPlace
from imaged.core.place_marker import MARKER_NAME, Marker, PlaceKind, write_marker_text
from imaged.ports.place import MarkedPlace
from imaged.ports.store import Store

CATALOG = UUID(int=7)
OLD, NEW = datetime(2024, 2, 29, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
DAMAGED = [
    b"",
    b"{",
    b"\xff\xfe\x00",
    b"[" * 65536,
]  # more of them: tests/core/test_place_marker.py


def a_marker(name: str, **changes: object) -> Marker:
    """The marker of a new place of one catalog."""
    fields = {"place_id": uuid4(), "catalog_id": CATALOG, "kind": PlaceKind.STORE, **changes}
    return Marker(**{"written_at": NEW, "name": name, **fields})  # type: ignore[arg-type]


class PlacedStore(Store, Protocol):
    """A store in a place with a marker."""

    @property
    def place(self) -> MarkedPlace:
        """The place."""
        ...


class MarkerBackdoor(Backdoor, Protocol):
    """Direct access to the marker, without the driver."""

    async def remove(self, key: str) -> None:
        """Remove the marker."""
        ...


class MarkedPlaceContract:
    """A suite provides ``store``, empty, and ``beside``: the same place, opened by another process.

    ``door``: a back door to both.
    """

    pytestmark = pytest.mark.asyncio

    async def test_an_empty_place_has_no_marker(self, store: PlacedStore) -> None:
        """And it exists all the same."""
        assert await store.place.read_marker() is None
        await store.place.require_expected()  # nothing is expected yet

    async def test_a_marker_is_read_as_it_was_written(
        self, store: PlacedStore, beside: PlacedStore, door: MarkerBackdoor
    ) -> None:
        """By each process, and readable for people."""
        marker = a_marker(store.name)

        assert await store.place.write_marker(marker) == marker

        assert await store.place.read_marker() == await beside.place.read_marker() == marker
        assert await door.read_raw(MARKER_NAME) == write_marker_text(marker)

    async def test_a_marker_is_written_once(
        self, store: PlacedStore, beside: PlacedStore, door: MarkerBackdoor
    ) -> None:
        """It never replaces another one: the second writer gets the existing one."""
        first = await store.place.write_marker(a_marker(store.name, written_at=OLD))
        before = await door.read_raw(MARKER_NAME)

        assert await beside.place.write_marker(a_marker(store.name)) == first
        assert await store.place.write_marker(a_marker(store.name)) == first

        assert await door.read_raw(MARKER_NAME) == before

    async def test_a_foreign_file_is_not_overwritten_by_a_marker(
        self, store: PlacedStore, door: MarkerBackdoor
    ) -> None:
        """A foreign file, or a damaged one, is left unchanged."""
        await door.plant(MARKER_NAME, b"not ours")

        with pytest.raises(MarkerRefused):
            await store.place.write_marker(a_marker(store.name))

        assert await door.read_raw(MARKER_NAME) == b"not ours"

    async def test_an_operator_replaces_it(self, store: PlacedStore, door: MarkerBackdoor) -> None:
        """On request, also one that cannot be parsed."""
        await store.place.write_marker(a_marker(store.name))
        marker = a_marker(store.name)

        assert await store.place.write_marker(marker, replace=True) == marker
        await door.plant(MARKER_NAME, b"damaged")
        assert await store.place.write_marker(marker, replace=True) == marker

        assert await door.read_raw(MARKER_NAME) == write_marker_text(marker)

    async def test_one_of_two_writers_wins(self, store: PlacedStore, beside: PlacedStore) -> None:
        """At the same moment; the other one sees the winner's, every time."""
        for _ in range(5):
            one, other = a_marker(store.name), a_marker(store.name)

            seen = await asyncio.gather(
                store.place.write_marker(one), beside.place.write_marker(other)
            )

            assert seen[0] == seen[1] == await store.place.read_marker()
            assert seen[0] in (one, other)
            await self.forget(store)

    async def forget(self, store: PlacedStore) -> None:
        """Remove the marker, for another round."""
        raise NotImplementedError  # each driver's suite has one

    @pytest.mark.parametrize("data", DAMAGED, ids=lambda data: repr(data[:12]))
    async def test_a_damaged_marker_is_refused(
        self, store: PlacedStore, door: MarkerBackdoor, data: bytes
    ) -> None:
        """With its location and the remedy; the place does not count as one without a marker."""
        await door.plant(MARKER_NAME, data)

        with pytest.raises(MarkerRefused) as caught:
            await store.place.read_marker()

        assert store.place.where in str(caught.value)
        assert f"imaged adopt-store {store.name}" in str(caught.value)
        assert await door.read_raw(MARKER_NAME) == data

    async def test_nothing_is_written_or_deleted_without_the_marker(
        self, store: PlacedStore, door: MarkerBackdoor
    ) -> None:
        """It is missing, another one, or damaged; existing data is there again when it is back."""
        kept = new_key()
        await store.put(kept, body(b"bytes"))
        marker = await store.place.write_marker(a_marker(store.name))
        others = [None, write_marker_text(a_marker(store.name)), b"damaged"]
        others.append(write_marker_text(replace(marker, catalog_id=uuid4())))

        for other in others:
            await self.change(door, other)
            store.place.expect(marker)
            for refused in (
                store.place.require_expected(),
                store.check(),
                store.put(new_key(), body(b"more")),
                store.delete(kept),
                all_keys(store),
                read_all(store, new_key()),  # it may exist in the right place
            ):
                with pytest.raises(WrongPlace):
                    await refused

        await self.change(door, write_marker_text(marker))
        store.place.expect(marker)
        await store.place.require_expected()
        assert await all_keys(store) == [kept]
        assert await read_all(store, kept) == b"bytes"
        store.place.expect(a_marker(store.name))  # though the other one has just been seen
        with pytest.raises(WrongPlace):
            await store.place.require_expected()

    async def change(self, door: MarkerBackdoor, data: bytes | None) -> None:
        """Set the marker to this, or remove it."""
        if data is None:
            await door.remove(MARKER_NAME)
        else:
            await door.plant(MARKER_NAME, data)

    async def test_the_time_of_a_marker_is_no_part_of_it(self, store: PlacedStore) -> None:
        """Two instances that write the same marker expect the same place."""
        marker = a_marker(store.name, written_at=OLD)
        await store.place.write_marker(marker)
        store.place.expect(a_marker(store.name, place_id=marker.place_id, written_at=NEW))

        await store.place.require_expected()

    async def test_a_marker_is_no_blob(self, store: PlacedStore) -> None:
        """Reconciliation never lists it, and never deletes it."""
        await store.place.write_marker(marker := a_marker(store.name))
        store.place.expect(marker)
        await store.put(key := new_key(), body(b"bytes"))

        assert await all_keys(store) == [key]

        await store.delete(key)
        assert await all_keys(store) == []
        assert await store.place.read_marker() == marker
