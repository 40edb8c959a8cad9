"""What is installed, in the catalog in memory: its id, places, instances and clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

from anyio.lowlevel import checkpoint

from imaged.core.claim import InstanceId
from imaged.core.clock import ClockMark, ClockReading
from imaged.core.place_marker import Place, PlaceKind
from imaged.core.summary import Instance
from imaged.testing.memory_timestamps import Clock


class MemoryInstallation:
    """What is known of the installation."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.id = uuid4()
        self.instances: dict[InstanceId, Instance] = {}
        self.clock_mark: ClockMark | None = None
        self.confirmations = 0
        self.places: dict[tuple[PlaceKind, str], Place] = {}

    async def get_id(self) -> UUID:
        """The id of this catalog."""
        await checkpoint()
        return self.id

    async def list_places(self) -> Sequence[Place]:
        """The recorded places, by kind and name."""
        await checkpoint()
        return [self.places[one] for one in sorted(self.places)]

    async def add_place(self, place: Place) -> Place:
        """Record a place unless its kind and name are taken; returns the one that then has them."""
        await checkpoint()
        return self.places.setdefault((place.kind, place.name), place)

    async def replace_place(self, place: Place) -> None:
        """Record a place, replacing the one of its kind and name."""
        await checkpoint()
        self.places[place.kind, place.name] = place

    async def set_place_warning(self, kind: PlaceKind, name: str, warning: str | None) -> None:
        """Record what an operator should check there."""
        await checkpoint()
        if (known := self.places.get((kind, name))) is not None:
            self.places[kind, name] = replace(known, warning=warning)

    async def register_instance(self, instance: Instance, forget_after: timedelta) -> None:
        """Record that an instance is alive; remove those not heard of for at least this long."""
        await checkpoint()
        now = self._clock.now()
        known = self.instances.get(instance.id)
        started_at = now if known is None else known.started_at
        seen = [(other.id, other.seen_at) for other in self.instances.values()]
        for other_id, seen_at in seen:
            if seen_at is not None and seen_at <= now - forget_after:
                del self.instances[other_id]
        self.instances[instance.id] = replace(instance, started_at=started_at, seen_at=now)

    async def unregister_instance(self, instance_id: InstanceId) -> None:
        """Remove an instance that has ended."""
        await checkpoint()
        self.instances.pop(instance_id, None)

    async def read_clock(self) -> ClockReading:
        """The catalog's clock now, and its recorded mark."""
        await checkpoint()
        return ClockReading(self._clock.now(), self.clock_mark, self.confirmations)

    async def note_clock(self, mark: ClockMark) -> None:
        """Record the last trusted time, or a step."""
        await checkpoint()
        self.clock_mark = mark

    async def confirm_clock(self, mark: ClockMark) -> None:
        """Record that an operator confirms this time."""
        await checkpoint()
        self.clock_mark = mark
        self.confirmations += 1
