"""The locations of images as a column of the statement that reads the images.

For PostgreSQL, where each statement is a round trip. SQLite reads them with a statement of their
own: there they would be collected for every row that could be on a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import FromClause, func, select

from imaged.catalogs.prepared import AnySelect
from imaged.catalogs.tables import blobs, image_locations
from imaged.core.image import Location

_PLACE = func.json_build_array(
    image_locations.c.position, blobs.c.key, blobs.c.store, blobs.c.size_bytes
)
_PLACES = select(func.json_agg(_PLACE).aggregate_order_by(image_locations.c.position))
_PLACES = _PLACES.select_from(image_locations.join(blobs))


def with_places(read: AnySelect, found: FromClause) -> AnySelect:
    """The statement with one more column, the last: the locations of each image that is found."""
    mine = _PLACES.where(image_locations.c.image_id == found.c.id).correlate(found)
    return read.add_columns(mine.scalar_subquery().label("places"))


def locations_of(places: Sequence[Sequence[Any]] | None) -> dict[int, Location]:
    """The locations of one image by position, from that column."""
    if places is None:
        return {}
    return {position: Location(store, key, size) for position, key, store, size in places}
