"""Transactions about the processes that use the catalog."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, bindparam, delete, select, update

from imaged.catalogs import dialects
from imaged.catalogs.column_types import Instant
from imaged.catalogs.tables import instances
from imaged.core.claim import InstanceId
from imaged.core.summary import Instance

_THIS = instances.c.id == bindparam("this")
_SEEN = update(instances).where(_THIS)
_SILENT = (
    select(instances.c.id)
    .where(~_THIS, instances.c.seen_at <= bindparam("latest", type_=Instant))
    .with_for_update(skip_locked=True)
)
_FORGET = delete(instances).where(instances.c.id.in_(_SILENT))
_LEAVE = delete(instances).where(_THIS)


def register_instance(db: Connection, instance: Instance, forget_after: timedelta) -> None:
    """Record that an instance is alive; remove those not heard of for at least this long.

    Instances whose rows are locked are alive. Waiting for their locks could deadlock.
    """
    now = dialects.now(db)
    facts = {
        "version": instance.version,
        "roles": instance.roles,
        "troubles": instance.troubles,
        "seen_at": now,
    }
    if not db.execute(_SEEN, {"this": instance.id, **facts}).rowcount:
        values = {"id": instance.id, "started_at": now, **facts}
        dialects.insert_or_ignore(db, instances, values)
    db.execute(_FORGET, {"this": instance.id, "latest": now - forget_after})


def unregister_instance(db: Connection, instance_id: InstanceId) -> None:
    """Remove an instance that has ended."""
    db.execute(_LEAVE, {"this": instance_id})
