"""The history of the tables, and how a catalog is migrated to the newest revision.

Strategy. One transaction locks the catalog, reads its revision and applies every missing step: all
of them or none. So two processes may start on a new catalog at the same moment. Alembic is only
imported if there is a step to apply.

A step either expands the tables, so that older versions go on working beside newer ones, or
contracts them: it removes what only older versions needed. A contracting step is applied on
request, or when a later step needs it, and only if no instance of another version is running.

A revision is a module in ``versions/``, and a line in ``STEPS``. The first makes the tables of a
new catalog; ``from_0003.py`` brings older catalogs there. See docs/decisions/0011 and 0037.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from importlib.metadata import version

from sqlalchemy import ColumnElement, Connection, inspect, select, text, update

from imaged.catalogs import dialects
from imaged.catalogs.installation_tables import compatibility, instances
from imaged.core.errors import CatalogError, CatalogInUse, CatalogTooNew, CatalogTooOld

OLDER_REVISION = "0003"  # of catalogs that can be brought to the first of the steps
VERSION_LOCATIONS = ("imaged.catalogs:migrations/versions",)

#: An instance that did not unregister may be alive for this long after its last heartbeat.
ALIVE_WITHIN = timedelta(minutes=5)


class StepKind(Enum):
    """The effect of a step on versions that do not know it."""

    EXPAND = "older versions go on working"
    CONTRACT = "older versions cannot work any more"


@dataclass(frozen=True, slots=True)
class Step:
    """A revision."""

    revision: str
    kind: StepKind


@dataclass(frozen=True, slots=True)
class Migration:
    """The result of a migration."""

    before: str | None  # the revision; None: there was no catalog
    now: str
    waiting: int  # contracting steps that were not requested


STEPS = (  # oldest first
    Step("0009", StepKind.EXPAND),
    Step("0010", StepKind.EXPAND),
    Step("0011", StepKind.EXPAND),
    Step("0012", StepKind.EXPAND),
    Step("0013", StepKind.EXPAND),
    Step("0014", StepKind.EXPAND),
    Step("0015", StepKind.EXPAND),
    Step("0016", StepKind.EXPAND),
    Step("0017", StepKind.EXPAND),
)

#: After it, rows that were there before are filled, in transactions of their own.
FILLED_AFTER = "0016"


def current_revision(db: Connection) -> str | None:
    """The revision of a catalog; None for one without any table.

    Raises CatalogError for a database that is something else.
    """
    tables = inspect(db).get_table_names()
    if "alembic_version" in tables:
        revision: str | None = db.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return revision
    if tables:
        raise CatalogError(
            "The database is not a catalog: it has tables of something else. "
            "Name another one in catalog.url."
        )
    return None


def missing_steps(db: Connection, *, contract: bool = False) -> Sequence[Step]:
    """The steps that this version needs and the catalog lacks; with ``contract``, all of them.

    Raises CatalogTooNew if only newer versions can work with it; CatalogError if its revision was
    never published.
    """
    revision = current_revision(db)
    known = [step.revision for step in STEPS]
    if revision is None:
        return STEPS
    if revision == OLDER_REVISION:
        missing = list(STEPS)
    elif revision in known:
        missing = list(STEPS[known.index(revision) + 1 :])
    else:
        _require_fitting(db, revision)
        return ()
    while missing and missing[-1].kind is StepKind.CONTRACT and not contract:
        missing.pop()
    return missing


def require_current(db: Connection) -> None:
    """Raise CatalogTooOld or CatalogTooNew unless this version can work with the catalog."""
    if missing_steps(db):
        raise CatalogTooOld("The catalog has to be migrated first: run `imaged migrate`.")


def apply_until_filling(db: Connection) -> Migration:
    """Apply the missing steps before rows are filled. A new catalog has none to fill."""
    return apply_steps(db, until=FILLED_AFTER)


def is_to_fill(db: Connection) -> bool:
    """Whether rows may have to be filled before the next step."""
    return current_revision(db) == FILLED_AFTER


def apply_steps(db: Connection, *, contract: bool = False, until: str | None = None) -> Migration:
    """Apply every missing step in the current transaction; those of an existing catalog up to
    ``until``.

    Raises CatalogTooNew; CatalogError if an instance of another version prevents it.
    """
    dialects.lock_schema(db)
    before = current_revision(db)
    missing = missing_steps(db, contract=contract)
    if until is not None and before is not None:
        missing = [step for step in missing if step.revision <= until]
    contracting = [step.revision for step in missing if step.kind is StepKind.CONTRACT]
    if contracting and before is not None:  # no instance works on a catalog that is being created
        _require_no_others(db)
    if missing:
        if before == OLDER_REVISION:
            from imaged.catalogs.migrations import from_0003

            from_0003.upgrade(db)
        _upgrade(db, missing[-1].revision)
    if contracting:
        db.execute(update(compatibility).values(oldest=contracting[-1]))
    now = missing[-1].revision if missing else str(before)
    return Migration(before, now, len(missing_steps(db, contract=True)))


def _require_fitting(db: Connection, revision: str) -> None:
    """Raise unless the revision is newer than this version, and its tables fit it still."""
    first, latest = STEPS[0].revision, STEPS[-1].revision
    if revision < first:
        raise CatalogError(
            f"The catalog is at revision {revision}, which was never published: this version "
            f"migrates catalogs of revisions {OLDER_REVISION} and {first}. Migrate it with an "
            "earlier version of imaged first."
        )
    oldest: str | None = None
    if inspect(db).has_table(compatibility.name):
        oldest = db.execute(select(compatibility.c.oldest)).scalar()
    if oldest is None or oldest > latest:
        raise CatalogTooNew(
            f"The catalog was written by a newer version of imaged (revision {revision}; "
            f"this version knows {latest}). Start that version."
        )


def require_idle(db: Connection) -> None:
    """Raise CatalogInUse if an instance works with the catalog, or was killed a moment ago."""
    if found := _instances_alive(db):
        raise CatalogInUse(
            f"Instances use this catalog, or did until a moment ago: {', '.join(found)}. Stop them "
            "first; one that was killed is forgotten after five minutes."
        )


def _instances_alive(db: Connection, *conditions: ColumnElement[bool]) -> Sequence[str]:
    alive = select(instances.c.id, instances.c.version).where(
        instances.c.seen_at > dialects.now(db) - ALIVE_WITHIN, *conditions
    )
    return [f"{row.id} ({row.version})" for row in db.execute(alive.order_by(instances.c.id))]


def _require_no_others(db: Connection) -> None:
    if found := _instances_alive(db, instances.c.version != version("imaged")):
        raise CatalogError(
            "Instances of another version use the catalog, or did until a moment ago: "
            f"{', '.join(found)}. Upgrade or stop them first."
        )


def _upgrade(db: Connection, revision: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": db})
    config.set_main_option("script_location", "imaged.catalogs:migrations")
    config.set_main_option("version_locations", "\n".join(VERSION_LOCATIONS))
    config.set_main_option("path_separator", "newline")
    command.upgrade(config, revision)
