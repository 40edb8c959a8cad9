"""The calls of an SQL catalog for what is installed: its id, places, instances and clock.

Each is one transaction (``installation.py``, ``clocks.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from uuid import UUID

from imaged.catalogs import clocks, installation
from imaged.catalogs.database import Database
from imaged.core.claim import InstanceId
from imaged.core.clock import ClockMark, ClockReading
from imaged.core.place_marker import Place, PlaceKind
from imaged.core.summary import Instance


class SqlInstallation:
    """Keeps what is known of the installation."""

    database: Database

    async def get_id(self) -> UUID:
        """The id of this catalog."""
        return await self.database.read(installation.get_id)

    async def list_places(self) -> Sequence[Place]:
        """The recorded places, by kind and name."""
        return await self.database.read(installation.list_places)

    async def add_place(self, place: Place) -> Place:
        """Record a place unless its kind and name are taken; returns the one that then has them."""
        return await self.database.write(partial(installation.add_place, place=place))

    async def replace_place(self, place: Place) -> None:
        """Record a place, replacing the one of its kind and name."""
        await self.database.write(partial(installation.replace_place, place=place))

    async def set_place_warning(self, kind: PlaceKind, name: str, warning: str | None) -> None:
        """Record what an operator should check there."""
        warn = partial(installation.set_place_warning, kind=kind, name=name, warning=warning)
        await self.database.write(warn)

    async def register_instance(self, instance: Instance, forget_after: timedelta) -> None:
        """Record that an instance is alive; remove those not heard of for at least this long."""
        await self.database.write(
            partial(installation.register_instance, instance=instance, forget_after=forget_after)
        )

    async def unregister_instance(self, instance_id: InstanceId) -> None:
        """Remove an instance that has ended."""
        unregister = partial(installation.unregister_instance, instance_id=instance_id)
        await self.database.write(unregister)

    async def read_clock(self) -> ClockReading:
        """The catalog's clock now, and its recorded mark."""
        return await self.database.read(clocks.read)

    async def note_clock(self, mark: ClockMark) -> None:
        """Record the last trusted time, or a step."""
        await self.database.write(partial(clocks.note, mark=mark))

    async def confirm_clock(self, mark: ClockMark) -> None:
        """Record that an operator confirms this time."""
        await self.database.write(partial(clocks.confirm, mark=mark))

    async def redate(self, quarantine: timedelta) -> int:
        """Reset timestamps that lie further ahead than their delay or patience explains."""
        return await self.database.write(partial(clocks.redate, quarantine=quarantine))
