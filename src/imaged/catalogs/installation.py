"""Transactions about the installation: the catalog's id, the places that belong to it, and the
running instances.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, bindparam, delete, select, update

from imaged.catalogs import dialects
from imaged.catalogs.dialects import Instant
from imaged.catalogs.installation_tables import catalog_identity, instances, places
from imaged.core.claim import InstanceId
from imaged.core.place_marker import Place, PlaceKind
from imaged.core.summary import Instance

_ID = select(catalog_identity.c.id)
_PLACES = select(places).order_by(places.c.kind, places.c.name)
_PLACE = (places.c.kind == bindparam("this_kind"), places.c.name == bindparam("this_name"))
_READ_PLACE = select(places).where(*_PLACE)
_UPDATE_PLACE = update(places).where(*_PLACE)

_INSTANCE = instances.c.id == bindparam("this")
_UPDATE_INSTANCE = update(instances).where(_INSTANCE)
_SILENT = (
    select(instances.c.id)
    .where(~_INSTANCE, instances.c.seen_at <= bindparam("latest", type_=Instant))
    .with_for_update(skip_locked=True)
)
_REMOVE_SILENT = delete(instances).where(instances.c.id.in_(_SILENT))
_REMOVE_INSTANCE = delete(instances).where(_INSTANCE)


def get_id(db: Connection) -> UUID:
    """The id that was created with the tables."""
    found: UUID = db.execute(_ID).scalar_one()
    return found


def list_places(db: Connection) -> Sequence[Place]:
    """All places, by kind and name."""
    return [_place_of(row) for row in db.execute(_PLACES)]


def add_place(db: Connection, place: Place) -> Place:
    """Add a place unless its kind and name are taken; returns the place that then has them."""
    dialects.insert_or_ignore(db, places, _place_values(place))
    return _place_of(db.execute(_READ_PLACE, _place_key(place.kind, place.name)).one())


def replace_place(db: Connection, place: Place) -> None:
    """Add a place, or replace the one of its kind and name."""
    if not dialects.insert_or_ignore(db, places, _place_values(place)):
        db.execute(_UPDATE_PLACE, {**_place_values(place), **_place_key(place.kind, place.name)})


def set_place_warning(db: Connection, kind: PlaceKind, name: str, warning: str | None) -> None:
    """Record a warning, or remove it."""
    db.execute(_UPDATE_PLACE, {"warning": warning, **_place_key(kind, name)})


def register_instance(db: Connection, instance: Instance, forget_after: timedelta) -> None:
    """Record that an instance is alive; remove those not heard of for at least this long.

    Instances whose rows are locked are alive. Waiting for their locks could deadlock.
    """
    now = dialects.now(db)
    facts = {
        "version": instance.version,
        "roles": instance.roles,
        "troubles": instance.troubles,
        "report": msgspec.to_builtins(instance.report),
        "seen_at": now,
    }
    if not db.execute(_UPDATE_INSTANCE, {"this": instance.id, **facts}).rowcount:
        values = {"id": instance.id, "started_at": now, **facts}
        dialects.insert_or_ignore(db, instances, values)
    db.execute(_REMOVE_SILENT, {"this": instance.id, "latest": now - forget_after})


def unregister_instance(db: Connection, instance_id: InstanceId) -> None:
    """Remove an instance that has ended."""
    db.execute(_REMOVE_INSTANCE, {"this": instance_id})


def _place_key(kind: PlaceKind, name: str) -> dict[str, str]:
    return {"this_kind": kind.value, "this_name": name}


def _place_values(place: Place) -> dict[str, Any]:
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
