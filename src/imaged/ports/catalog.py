"""The interface of catalogs, which store all records: small ports, and ``Catalog``, all of them.

Everything that changes an image, its bytes, its task or its owner's account is one
``modify_image``, and that is one transaction: lock the image, run the pure change, ask
``core/ledger`` for its consequences, lock their rows, write. Doomed blobs are a separate queue.
Locks are always taken in one order, so that there are no deadlocks:

    image  →  blobs, by key  →  accounts, by owner  →  lease  →  task

A task that writes an image is changed under the lock of that image until it is final; all other
tasks have locks and leases of their own. Events are written under the lock of their image or task.

Leases and due times are measured by the catalog's clock alone.

Every method may raise ``CatalogError``, and no other error of the driver. After a ``CatalogError``
it is unknown whether the call was carried out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from imaged.core.claim import InstanceId
from imaged.core.clock import ClockMark, ClockReading
from imaged.core.place_marker import Place, PlaceKind
from imaged.core.summary import Instance, Summary
from imaged.ports.image_catalog import (
    AccountCatalog,
    BlobCatalog,
    ImageCatalog,
    LeaseCatalog,
    TaskCatalog,
)
from imaged.ports.outbox import OutboxCatalog


class PlaceCatalog(Protocol):
    """The id of the catalog, and the places that belong to it."""

    async def get_id(self) -> UUID:
        """The id of this catalog: created with it, and the same in every copy of it."""
        ...

    async def list_places(self) -> Sequence[Place]:
        """The known places, by kind and name."""
        ...

    async def add_place(self, place: Place) -> Place:
        """Add a place. If one of its kind and name is known, that one stays.

        Returns the one that is known afterwards.
        """
        ...

    async def replace_place(self, place: Place) -> None:
        """Replace the place of the same kind and name."""
        ...

    async def set_place_warning(self, kind: PlaceKind, name: str, warning: str | None) -> None:
        """Set the warning for operators about a place; None: no problem. Ignores unknown places."""
        ...


class InstanceCatalog(Protocol):
    """The running instances."""

    async def register_instance(self, instance: Instance, forget_after: timedelta) -> None:
        """Record that an instance is alive; remove those silent for ``forget_after``.

        ``started_at`` is the time of its first registration, ``seen_at`` that of its last.
        """
        ...

    async def unregister_instance(self, instance_id: InstanceId) -> None:
        """Remove an instance that has ended. Ignores unknown ones."""
        ...


class ClockCatalog(Protocol):
    """The clock that leases and due times are measured by."""

    async def read_clock(self) -> ClockReading:
        """The catalog's clock now, and the last mark stored of it."""
        ...

    async def note_clock(self, mark: ClockMark) -> None:
        """Store the last trusted moment, or a step, for the process that starts next."""
        ...

    async def confirm_clock(self, mark: ClockMark) -> None:
        """Record that an operator confirmed the clock at this moment."""
        ...

    async def redate(self, quarantine: timedelta) -> int:
        """Redate what is further ahead than its delay explains, after a clock that was ahead has
        gone back; return the number of rows changed.

        Delays counted from a time (a deletion, a last change, a registration) are counted from now;
        a due time of its own (an expiry, a doomed blob: ``clock.redate_blob``) is set anew.
        ``quarantine``: the delay of a stray.
        """
        ...


class StatusCatalog(Protocol):
    """Whether the catalog works, and what is in it."""

    async def check(self) -> None:
        """Check that the catalog answers. Raises CatalogError."""
        ...

    async def summarize(self) -> Summary:
        """Count everything in one consistent snapshot."""
        ...


class Catalog(
    ImageCatalog,
    TaskCatalog,
    BlobCatalog,
    LeaseCatalog,
    AccountCatalog,
    OutboxCatalog,
    PlaceCatalog,
    InstanceCatalog,
    ClockCatalog,
    StatusCatalog,
    Protocol,
):
    """Stores the records of everything. It holds no rules; those are in ``core``."""
