"""A stress test: many clients change images that share their bytes in every order."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

from contracts import catalog_samples as samples
from imaged.core import uploading
from imaged.core.deletion import delete, expire, restore
from imaged.core.errors import CatalogError, ImagedError
from imaged.core.query import TaskQuery
from imaged.core.task import Progress, cancel, claim_task, finish_task, give_back_task
from imaged.ports.catalog import Catalog
from support.quotas import limit_total
from support.sample_images import draft, task

ROOTS = tuple(f"root{number}" for number in range(12))
OWNERS = ("a", "b")
LIMIT_BYTES = 600  # of owner a: reached now and then


async def add_roots(catalog: Catalog) -> None:
    """The images that all clients clone, delete and restore."""
    await limit_total(catalog, "a", LIMIT_BYTES)
    for image_id in ROOTS:
        await samples.add_active(catalog, image_id, owner="b")


class StressClient:
    """A client with random operations; ``done`` counts those that were not refused."""

    def __init__(self, catalog: Catalog, name: str) -> None:
        self._catalog = catalog
        self._name = name
        self._dice = random.Random(name)
        self._count = 0
        self.done = 0

    async def step(self) -> None:
        """One operation. A refusal is fine, an error of the catalog is not."""
        self._count += 1
        deeds = [self.clone, self.clone, self.upload, self.remove, self.expire]
        deeds += [self.restore, self.scrub, self.reclaim, self.make, self.read, self.cancel]
        try:
            await self._dice.choice(deeds)(f"{self._name}-{self._count}")
            self.done += 1
        except CatalogError:
            raise
        except ImagedError:
            pass

    async def clone(self, image_id: str) -> None:
        """Share the bytes of some others, and perhaps release them."""
        chosen = self._dice.sample(ROOTS, 4)
        sources = [await self._catalog.get_image(root) for root in chosen]
        places = {place.key: place for source in sources for place in source.locations}
        clone = await self._catalog.add_image(samples.queued(image_id, self._dice.choice(OWNERS)))
        source = replace(clone, locations=tuple(places.values()), content=samples.content())
        await self._catalog.modify_image(image_id, uploading.share_data(source))
        if self._dice.random() < 0.8:
            delayed = self._dice.random() < 0.5
            await self._catalog.modify_image(image_id, delete(delayed=delayed))

    async def upload(self, image_id: str) -> None:
        """Write new bytes; some are deleted meanwhile, some are never finished."""
        claim = samples.new_claim(self._dice.choice([samples.NO_DELAY, timedelta(seconds=60)]))
        await samples.add_saving(self._catalog, image_id, claim, owner=self._dice.choice(OWNERS))
        match self._dice.randrange(4):
            case 0:
                await self._catalog.modify_image(image_id, delete(delayed=False))
            case 1:
                return
        await samples.act(self._catalog, image_id, claim, uploading.store_data(samples.content(7)))

    async def make(self, image_id: str) -> None:
        """Request a clone, and claim it; some are finished, some abandoned."""
        source = await self._catalog.get_image(self._dice.choice(ROOTS))
        owner = self._dice.choice(OWNERS)
        asked = task(f"t-{image_id}", type="clone", owner=owner, keep_for=samples.NO_DELAY)
        await self._catalog.add_image(draft(image_id, owner, asked))
        claim = samples.new_claim(self._dice.choice([samples.NO_DELAY, timedelta(seconds=60)]))
        await samples.act(self._catalog, image_id, claim, uploading.begin_attempt)
        await self._catalog.update_task_progress(f"t-{image_id}", 1, Progress("sharing"))
        if self._dice.random() < 0.7:
            done = samples.held_by(claim, uploading.share_to_finish(source))
            made = await self._catalog.modify_image(image_id, done)
            await self._catalog.modify_image(made.id, delete(delayed=False))

    async def read(self, image_id: str) -> None:
        """Request a task that writes nothing, and perhaps do it."""
        asked = task(f"r-{image_id}", type="verify", keep_for=samples.NO_DELAY)
        await self._catalog.add_task(asked)
        for waiting in await self._catalog.find_pending_tasks(["verify"], 2):
            await self._read(waiting.id)

    async def _read(self, task_id: str) -> None:
        claim = samples.new_claim(self._dice.choice([samples.NO_DELAY, timedelta(seconds=60)]))
        await self._catalog.modify_task(task_id, lambda task: claim_task(task, claim))
        await self._catalog.renew_leases([claim])
        if self._dice.random() < 0.7:
            await self._catalog.modify_task(task_id, lambda task: finish_task({})(task, claim))

    async def cancel(self, _image_id: str) -> None:
        """Cancel tasks of others."""
        for seen in await self._catalog.list_tasks(TaskQuery(limit=3)):
            await self._catalog.modify_task(seen.id, lambda task: cancel(task, "enough"))

    async def remove(self, _image_id: str) -> None:
        """Delete what others clone."""
        await self._catalog.modify_image(self._dice.choice(ROOTS), delete(delayed=True))

    async def restore(self, _image_id: str) -> None:
        """Restore it."""
        await self._catalog.modify_image(self._dice.choice(ROOTS), restore)

    async def expire(self, _image_id: str) -> None:
        """Expire images, seldom those that all clients clone."""
        for seen in await self._catalog.find_expirable(samples.NO_DELAY, 5):
            if seen.id not in ROOTS or self._dice.random() < 0.05:
                await self._catalog.modify_image(seen.id, expire(seen))

    async def scrub(self, _image_id: str) -> None:
        """Delete what is due, with and without success."""
        for blob in await self._catalog.take_doomed(4, timedelta(milliseconds=50)):
            if self._dice.random() < 0.2:
                await self._catalog.reschedule(blob.key, "not now")
            else:
                await self._catalog.remove_blob(blob.key)

    async def reclaim(self, _image_id: str) -> None:
        """Renew no claim, and reclaim lapsed ones."""
        await self._catalog.renew_leases([samples.new_claim()])
        for lapsed in await self._catalog.find_lapsed(3):
            if lapsed.image_id is not None:
                back = uploading.give_back(lapsed.claim, "lost", final=True)
                await self._catalog.modify_image(lapsed.image_id, back)
            if lapsed.task_id is not None:
                lost = give_back_task(lapsed.claim, "lost", final=False)
                await self._catalog.modify_task(lapsed.task_id, lost)
        await self._catalog.expire_tasks(samples.ALL)
        await self._catalog.purge(timedelta(milliseconds=100), samples.ALL)
