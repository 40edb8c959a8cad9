"""``verify``: checks whether the bytes of an image still match their record.

They are read from each store that has them, in the background: in small parts of the transfer
budget, hashed by a low-priority thread. The result lists the findings; damage is also logged as an
error and marked on the image for the operator. If there is none, the block checksums are recorded,
so that downloads are verified from then on.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from msgspec import field

from imaged.core.access import Caller, require_permitted
from imaged.core.block import TransferBudget
from imaged.core.errors import BlobMissing, InvalidTransition
from imaged.core.image import Content, Image, Location
from imaged.core.integrity import StoredContent, problems_of
from imaged.core.lifecycle import require_data
from imaged.core.policy_rules import Rule
from imaged.core.task import TaskFacts
from imaged.lanes import BackgroundLane, LaneFactory
from imaged.ports.image_catalog import BlobCatalog, ImageCatalog
from imaged.ports.store import Stores
from imaged.services.downloads import DamageReporter
from imaged.services.stream_checks import StreamChecks, gather_blocks
from imaged.services.tasks.context import TaskContext
from imaged.services.tasks.task_type import Accepted, Example, ImageId, TaskInput, TaskResult
from imaged.services.tasks.types.import_methods import read_chunks

VERIFYING = "verifying"


class VerifyInput(TaskInput):
    """The image to verify."""

    image_id: ImageId


class VerifyResult(TaskResult):
    """The stores with correct data, and the problems found."""

    image_id: str
    healthy: bool
    size_bytes: int  # as recorded, like the digests
    checksum: str | None
    os_hash_algo: str
    os_hash_value: str
    stores: list[str]
    problems: list[str] = field(default_factory=list)


class VerifyCatalog(ImageCatalog, BlobCatalog, Protocol):
    """Images, and the checksums of their blocks."""


@dataclass(frozen=True, slots=True)
class Verify:
    """The task type."""

    catalog: VerifyCatalog
    stores: Stores
    budget: TransferBudget
    lanes: LaneFactory = BackgroundLane

    facts = TaskFacts("verify")
    input = VerifyInput
    example = Example(
        VerifyInput(image_id="5a2dbfcf-9b4a-4b7e-8ba8-7cf1a4a7c0e5"),
        VerifyResult(
            image_id="5a2dbfcf-9b4a-4b7e-8ba8-7cf1a4a7c0e5",
            healthy=False,
            size_bytes=5,
            checksum="5d41402abc4b2a76b9719d911017c592",
            os_hash_algo="sha256",
            os_hash_value="2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
            stores=["local"],
            problems=["In the store 'local' the data has 4 bytes, and not 5."],
        ),
    )

    async def accept(self, caller: Caller, asked: VerifyInput) -> Accepted:
        """Only the owner may verify, and only an image with data. Raises InvalidTransition."""
        return Accepted((await self._image(caller, asked.image_id)).id)

    async def run(self, context: TaskContext, asked: VerifyInput) -> VerifyResult:
        """Read all bytes, and report the problems."""
        image = await self._image(context.caller, asked.image_id)
        content = image.content
        if content is None:
            raise InvalidTransition(image.status, "be verified")
        problems: list[str] = []
        for location in image.locations:
            found = await self._read(context, location, content)
            wrong = problems_of(content, StoredContent(location.store, found))
            problems += wrong
            if found is not None and not wrong:  # also for bytes that had none recorded
                await self.catalog.set_block_checksums(location.key, found.block_checksums)
        if problems:  # or were the bytes deleted with the image?
            await self._image(context.caller, image.id)
        await DamageReporter(self.catalog).note(image, problems)
        return VerifyResult(
            image_id=image.id,
            healthy=not problems,
            size_bytes=content.size_bytes,
            checksum=content.checksum,
            os_hash_algo=content.hash_algorithm,
            os_hash_value=content.hash_value,
            stores=[location.store for location in image.locations],
            problems=problems,
        )

    async def _image(self, caller: Caller, image_id: str) -> Image:
        image = require_permitted(
            caller, Rule.MODIFY_IMAGE, await self.catalog.get_image(image_id.lower())
        )
        require_data(image.status, "be verified")
        return image

    async def _read(
        self, context: TaskContext, location: Location, content: Content
    ) -> Content | None:
        stream_checks = StreamChecks(self.lanes)
        digests = stream_checks.digest_like(content)
        opening = self.stores.pick(location.store).open(location.key)
        async with (
            aclosing(read_chunks(opening, lambda: self.budget.block_bytes)) as chunks,
            aclosing(context.counted(VERIFYING, chunks, content.size_bytes)) as counted,
            aclosing(gather_blocks(counted, self.budget)) as blocks,
        ):
            try:
                await stream_checks.read(blocks)
            except BlobMissing:
                return None
        return digests.content()
