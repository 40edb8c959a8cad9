"""The world that the nodes of a simulation share, and what they all want of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from random import Random

import anyio

from imaged.core.deletion import deactivate, reactivate
from imaged.core.errors import CatalogError, ClientVanished, ImagedError
from imaged.core.image import Change, Image
from imaged.core.lifecycle import RESTORE_EVENTS, Status, event_between
from imaged.testing.memory_catalog import MemoryCatalog
from imaged.testing.memory_store import MemoryStore
from simulation.network import Network
from support.audit import audit, audit_settled
from support.bodies import END
from support.callers import ADMIN
from support.node import Node, image_id
from support.quotas import limits
from support.virtual_time import VirtualClock

#: Of one of the two projects: each is reached now and then.
LIMITS = limits(total=6000, staged=1500, images=12, uploads=3)
SCRUB_DELAYS = (0, 60, 300, 800)  # seconds, among which operators choose
NEWEST = 30  # images that clients still think of
MARK_BYTES = 8
CLIENT_GONE = 0.05  # how often, after each chunk

DELETABLE = (
    Status.QUEUED,
    Status.SAVING,
    Status.UPLOADING,
    Status.IMPORTING,
    Status.ACTIVE,
    Status.DEACTIVATED,
)


class RecordingCatalog(MemoryCatalog):
    """A catalog with a flight recorder: what is not in the table is a violation."""

    def __init__(self, world: SimulatedCluster) -> None:
        super().__init__(VirtualClock())
        self._world = world
        self.steps: Counter[str] = Counter()
        self.activated: set[bytes] = set()  # marks of the bodies that became an image's data

    def _modify(self, image_id: str, change: Change) -> Image:
        """Apply a change, of an image or of the task that writes it, and record it."""
        seen: list[Image] = []

        def noting(image: Image) -> Image:
            seen.append(image)
            return change(image)

        after = super()._modify(image_id, noting)
        self._record(seen[-1].status, after)
        return after

    def _remove_blob(self, key: str) -> Image | None:
        """Let a row leave, and record what became of its image."""
        deleted = super()._remove_blob(key)
        if deleted is not None:
            self._record(Status.PENDING_DELETE, deleted)
        return deleted

    def _record(self, before: Status, after: Image) -> None:
        if after.status is before:
            return
        try:
            event = event_between(before, after.status)
        except LookupError as error:
            self._world.violations.append(str(error))
            return
        self.steps[event] += 1
        if after.status is Status.ACTIVE and before in {Status.SAVING, Status.IMPORTING}:
            (location, *_) = after.locations
            data = self._world.stores[location.store].blobs[location.key]
            self.activated.add(data[:MARK_BYTES])
            is_whole = data[MARK_BYTES:].rstrip(END).strip(b"\0") == b"" and data.endswith(END)
            if location.key not in self._world.rotten and not is_whole:
                self._world.violations.append(f"{location.key} is a copy of rotten bytes")


class GuardedStore(MemoryStore):
    """A store that tells when something is deleted that an image needs, or changed."""

    def __init__(self, name: str, world: SimulatedCluster) -> None:
        super().__init__(name)
        self._world = world

    async def delete(self, key: str, upload_id: str | None = None) -> None:
        """Delete, and tell if an image needed the data."""
        await super().delete(key, upload_id)
        holders = [i.id for i in self._world.catalog.images.values() if key in i.held]
        if holders:
            self._world.violations.append(f"deleted {key}, which {holders} hold")

    async def commit(self, key: str) -> int:
        """Commit, and tell if that changed bytes that were whole."""
        if key in self.blobs:
            self._world.violations.append(f"wrote {key} twice")
        return await super().commit(key)


class Body:
    """What a client sends, slowly; it begins with a mark, by which it is known again."""

    def __init__(self, chance: Random, network: Network, mark: bytes) -> None:
        self.mark = mark
        self._chance = chance
        self._network = network
        self._sizes = [chance.randrange(100) for _ in range(chance.randrange(5))]

    @property
    def size_bytes(self) -> int:
        """How much it sends if nothing happens."""
        return len(self.mark) + sum(self._sizes) + len(END)

    async def send(self) -> AsyncGenerator[bytes]:
        """Send it; perhaps not to its end."""
        yield self.mark
        for size in self._sizes:
            await anyio.sleep(self._chance.uniform(0, 40))
            yield bytes(size)
            if self._network.strikes("client gone", CLIENT_GONE):
                raise ClientVanished
        yield END


class SimulatedCluster:
    """One catalog, two stores, and clients with wishes."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.violations: list[str] = []
        self.counts: Counter[str] = Counter()
        self.catalog = RecordingCatalog(self)
        self.stores = {name: GuardedStore(name, self) for name in ("near", "far")}
        self.delay = timedelta(minutes=5)
        self._images = 0
        self._bodies = 0
        self.rotten: set[str] = set()  # keys of bytes that a disk has changed
        self._denied: set[bytes] = set()  # marks of the bodies whose upload was a failure

    def audit(self) -> None:
        """Check what holds at every moment."""
        assert not self.violations
        audit(self.catalog, self.stores, self.rotten)

    def audit_settled(self) -> None:
        """Check that everything has come to rest, and that no answer was false."""
        assert not self.violations
        audit_settled(self.catalog, self.stores, self.rotten)
        lies = self._denied & self.catalog.activated
        assert not lies, f"GOOD UPLOADS REPORTED AS FAILED: {lies}"

    async def wish(self, node: Node, network: Network) -> None:
        """A client or an operator asks a node for something."""
        wishes: dict[Callable[[Node, Network], Awaitable[None]], float] = {
            self._upload: 8,
            self._stage: 4,
            self._ask_for_import: 4,
            self._delete: 6,
            self._restore: 4,
            self._clone: 4,
            self._download: 4,
            self._flip: 1,
            self._rot: 1,
            self._ask_for_clone: 4,
            self._ask_to_verify: 3,
            self._cancel_task: 2,
            self._choose_delay: 0.3,
        }
        (wish,) = self.chance.choices(list(wishes), list(wishes.values()))
        try:
            await wish(node, network)
        except ImagedError as error:
            self.counts[f"{wish.__name__}: {type(error).__name__}"] += 1
        else:
            self.counts[wish.__name__] += 1

    async def new_image(self) -> Image:
        """Add an image, as a client does."""
        self._images += 1
        name, owner = image_id(self._images), self.chance.choice(("p1", "p2"))
        container = self.chance.choice(("bare", "ova", "ova"))
        return await self.catalog.add_image(
            Image(id=name, owner=owner, disk_format="raw", container_format=container)
        )

    async def _upload(self, node: Node, network: Network) -> None:
        image = self._pick(Status.QUEUED) if self.chance.random() < 0.7 else None
        image = image or await self.new_image()
        body = Body(self.chance, network, self._new_mark())
        announced_bytes = self.chance.choice((None, None, body.size_bytes, body.size_bytes, 200))
        store = self.chance.choice(("near", "near", "far"))
        try:
            await node.upload(image.id, body.send(), announced_bytes, store)
        except CatalogError:
            raise  # perhaps it was carried out, and that is what it says
        except ImagedError:
            self._denied.add(body.mark)
            raise
        if body.mark not in self.catalog.activated:
            self.violations.append("an upload was reported as a success without data")

    async def _stage(self, node: Node, network: Network) -> None:
        if image := self._pick(Status.QUEUED):
            await node.stage(image.id, Body(self.chance, network, self._new_mark()).send())

    async def _ask_for_import(self, node: Node, _: Network) -> None:
        is_hasty = self.chance.random() < 0.1  # nothing was staged
        if image := self._pick(Status.QUEUED if is_hasty else Status.UPLOADING):
            await node.ask_import(image.id)

    async def _delete(self, node: Node, _: Network) -> None:
        if image := self._pick(*DELETABLE):
            await node.delete(image.id, delayed=self.delay > timedelta(0))

    async def _restore(self, node: Node, _: Network) -> None:
        if image := self._pick(Status.PENDING_DELETE):
            await node.restore(image.id)

    async def _clone(self, node: Node, _: Network) -> None:
        if image := self._pick(Status.ACTIVE):
            clone = await self.new_image()
            await node.clone(ADMIN, image.id, clone.id)

    async def _download(self, node: Node, _: Network) -> None:
        if not (image := self._pick(*RESTORE_EVENTS)):
            return
        async with node.downloads.open(ADMIN, image.id) as download:
            data = b"".join([chunk async for chunk in download.chunks])
        if download.image.content is None:
            return
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != download.image.content.checksum:
            self.violations.append(f"wrong bytes of {image.id} were sent as if they were whole")

    async def _ask_for_clone(self, node: Node, _: Network) -> None:
        if image := self._pick(Status.ACTIVE):
            await node.task_service.create(ADMIN, "clone", {"image_id": image.id})

    async def _ask_to_verify(self, node: Node, _: Network) -> None:
        if image := self._pick(Status.ACTIVE):
            await node.task_service.create(ADMIN, "verify", {"image_id": image.id})

    async def _cancel_task(self, node: Node, _: Network) -> None:
        waiting = [task for task in self.catalog.tasks.values() if not task.is_final]
        if waiting:
            await node.task_service.cancel(ADMIN, self.chance.choice(waiting).id)

    async def _flip(self, node: Node, _: Network) -> None:
        if image := self._pick(*RESTORE_EVENTS):
            flip = self.chance.choice((deactivate, reactivate))
            await node.catalog.modify_image(image.id, flip)

    async def _rot(self, _: Node, __: Network) -> None:
        """A disk changes a byte of an image, or of what was staged; its mark stays readable."""
        image = self._pick(*RESTORE_EVENTS, Status.UPLOADING)
        places = [] if image is None or image.claim is not None else list(image.held.values())
        for place in places[:1]:
            data = bytearray(self.stores[place.store].blobs[place.key])
            data[self.chance.randrange(MARK_BYTES, len(data))] ^= 0x40
            self.stores[place.store].blobs[place.key] = bytes(data)
            self.rotten.add(place.key)

    async def _choose_delay(self, node: Node, _: Network) -> None:
        self.delay = timedelta(seconds=self.chance.choice(SCRUB_DELAYS))
        node.scrubber.settings = replace(node.scrubber.settings, delay=self.delay)

    def _new_mark(self) -> bytes:
        self._bodies += 1
        return self._bodies.to_bytes(MARK_BYTES)

    def _pick(self, *statuses: Status) -> Image | None:
        images = [i for i in self.catalog.images.values() if i.status in statuses]
        return self.chance.choice(images[-NEWEST:]) if images else None
