"""What every catalog knows of itself, and of the places that belong to it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from imaged.core.place_marker import Place, PlaceKind
from imaged.ports.catalog import Catalog


def local(**facts: object) -> Place:
    """A store as first recorded."""
    place = Place(PlaceKind.STORE, "local", uuid4(), "/srv/images")
    return replace(place, **facts)  # type: ignore[arg-type]


class PlacesContract:
    """A catalog has an id, and a place has a kind and a name."""

    async def test_a_catalog_has_one_id(self, catalog: Catalog) -> None:
        """It never changes."""
        assert await catalog.get_id() == await catalog.get_id()

    async def test_one_of_concurrent_markers_counts(self, catalog: Catalog) -> None:
        """Instances may start at the same moment: all get the same id, as do later ones."""
        told = await asyncio.gather(*[catalog.add_place(local()) for _ in range(5)])
        told.append(await catalog.add_place(local()))

        assert len({place.place_id for place in told}) == 1
        assert await catalog.list_places() == told[:1]

    async def test_a_place_can_be_replaced(self, catalog: Catalog) -> None:
        """Whether or not it was recorded."""
        for place in (local(), local(is_marked=True, where="/mnt/images")):
            await catalog.replace_place(place)

            assert await catalog.list_places() == [place]

    async def test_kinds_have_names_of_their_own(self, catalog: Catalog) -> None:
        """An export may have the name of a store."""
        store, exports = local(), local(kind=PlaceKind.EXPORTS)
        for place in (store, exports):
            await catalog.add_place(place)

        assert await catalog.list_places() == [exports, store]

    @pytest.mark.parametrize("warning", ["Look at it.", None])
    async def test_a_place_can_bear_a_warning(self, catalog: Catalog, warning: str | None) -> None:
        """It is replaced or removed; nothing else changes, and other places have none."""
        known, other = local(warning="old"), local(name="other")
        for place in (known, other):
            await catalog.add_place(place)

        await catalog.set_place_warning(PlaceKind.STORE, "local", warning)
        await catalog.set_place_warning(PlaceKind.STORE, "unknown", "It is not there.")

        assert await catalog.list_places() == [replace(known, warning=warning), other]
        told = [f"store local: {warning}"] if warning else []
        assert list((await catalog.summarize()).warnings) == told
