"""``count_zeros``: how much of an image is nothing. A type of tasks of a deployer's own."""

from __future__ import annotations

from contextlib import aclosing

from imaged.core.access import Caller, require_readable
from imaged.core.task import TaskFacts
from imaged.services.tasks.context import TaskContext
from imaged.services.tasks.task_type import (
    Accepted,
    Example,
    ImageId,
    TaskInput,
    TaskResources,
    TaskResult,
)


class CountZerosInput(TaskInput):
    """Which image."""

    image_id: ImageId


class CountZerosResult(TaskResult):
    """What was counted."""

    zeros: int
    size_bytes: int


class CountZeros:
    """The type."""

    facts = TaskFacts("count_zeros")
    input = CountZerosInput
    example = Example(
        CountZerosInput(image_id="5a2dbfcf-9b4a-4b7e-8ba8-7cf1a4a7c0e5"),
        CountZerosResult(zeros=1024, size_bytes=4096),
    )

    def __init__(self, services: TaskResources) -> None:
        self._services = services

    async def accept(self, caller: Caller, asked: CountZerosInput) -> Accepted:
        """Refuse at once what can be refused; here, images that the caller may not read."""
        image = await self._services.catalog.get_image(asked.image_id.lower())
        return Accepted(require_readable(caller, image).id)

    async def run(self, context: TaskContext, asked: CountZerosInput) -> CountZerosResult:
        """Read all of it; ``counted`` tells the owner how far we are."""
        zeros = size_bytes = 0
        image_id = asked.image_id.lower()
        async with self._services.downloads.open(context.caller, image_id) as download:
            total_bytes = download.span.length if download.span else 0
            chunks = context.counted("counting", download.chunks, total_bytes)
            async with aclosing(chunks):
                async for chunk in chunks:
                    zeros += chunk.count(0)
                    size_bytes += len(chunk)
        return CountZerosResult(zeros, size_bytes)


def make(services: TaskResources) -> CountZeros:
    """What the entry point names: called once, when imaged starts."""
    return CountZeros(services)
