"""Transactions about the catalog's id, and the places that belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, bindparam, select, update

from imaged.catalogs import dialects
from imaged.catalogs.tables import catalog_identity, places
from imaged.core.place_marker import Place, PlaceKind

_ID = select(catalog_identity.c.id)
_ALL = select(places).order_by(places.c.kind, places.c.name)
_THIS = (places.c.kind == bindparam("this_kind"), places.c.name == bindparam("this_name"))
_READ = select(places).where(*_THIS)
_UPDATE = update(places).where(*_THIS)


def get_id(db: Connection) -> UUID:
    """The id that was created with the tables."""
    found: UUID = db.execute(_ID).scalar_one()
    return found


def list_all(db: Connection) -> Sequence[Place]:
    """All places, by kind and name."""
    return [_place_of(row) for row in db.execute(_ALL)]


def add(db: Connection, place: Place) -> Place:
    """Add a place unless its kind and name are taken; returns the place that then has them."""
    dialects.insert_or_ignore(db, places, _values(place))
    return _place_of(db.execute(_READ, _key(place.kind, place.name)).one())


def replace(db: Connection, place: Place) -> None:
    """Add a place, or replace the one of its kind and name."""
    if not dialects.insert_or_ignore(db, places, _values(place)):
        db.execute(_UPDATE, {**_values(place), **_key(place.kind, place.name)})


def warn(db: Connection, kind: PlaceKind, name: str, warning: str | None) -> None:
    """Record a warning, or remove it."""
    db.execute(_UPDATE, {"warning": warning, **_key(kind, name)})


def _key(kind: PlaceKind, name: str) -> dict[str, str]:
    return {"this_kind": kind.value, "this_name": name}


def _values(place: Place) -> dict[str, Any]:
    return {
        "kind": place.kind.value,
        "name": place.name,
        "place_id": place.place_id,
        "location": place.where,
        "is_marked": place.is_marked,
        "warning": place.warning,
    }


def _place_of(row: Row[*tuple[Any, ...]]) -> Place:
    return Place(
        PlaceKind(row.kind), row.name, row.place_id, row.location, row.is_marked, row.warning
    )
