"""``import``: creates an image from bytes on the web. It is invisible until all checks have
passed.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated

import msgspec

from imaged.core.access import Caller
from imaged.core.digests import ExpectedDigest
from imaged.core.disk_format import is_inspected
from imaged.core.errors import FetchRefused, InvalidInput
from imaged.core.image import Image
from imaged.core.limits import require_announced
from imaged.core.task import TaskFacts
from imaged.ports.fetcher import Fetched, Fetcher
from imaged.services.stream_checks import StreamChecks
from imaged.services.tasks.context import FETCHING, StreamCheckFactory, TaskContext
from imaged.services.tasks.image_converter import ImageConverter
from imaged.services.tasks.task_type import (
    Accepted,
    Example,
    ImageProperties,
    ImageResult,
    TaskInput,
    read_expected_digest,
)
from imaged.services.tasks.types.new_image import (
    PROPERTIES_FIELD,
    new_task_image,
    require_disk_format,
)


class ImportInput(TaskInput):
    """The address of the bytes, and the image to create."""

    import_from: Annotated[str, msgspec.Meta(description="An http or https URL.")]
    import_from_format: Annotated[
        str, msgspec.Meta(description="The disk format of the bytes at the address.")
    ]
    image_properties: Annotated[
        ImageProperties,
        msgspec.Meta(
            description="As in POST /v2/images. If disk_format differs from "
            "import_from_format, the bytes are converted."
        ),
    ] = msgspec.field(default_factory=dict)
    checksum: Annotated[
        str,
        msgspec.Meta(
            description="ALGORITHM:HEXADECIMAL of the bytes at the address; not checked if empty."
        ),
    ] = ""


@dataclass(frozen=True, slots=True)
class ImportTask:
    """The task type."""

    fetcher: Fetcher
    conversion: ImageConverter
    check_factory: StreamCheckFactory

    facts = TaskFacts("import")
    input = ImportInput
    example = Example(
        ImportInput(
            import_from="https://images.example.net/debian-12.qcow2",
            import_from_format="qcow2",
            image_properties={
                "name": "debian-12",
                "disk_format": "raw",
                "container_format": "bare",
                "min_ram": 512,
            },
            checksum="sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        ImageResult(image_id="3d1f5b7a-90cc-4f0e-8d5e-5e0d2a9b6c11"),
    )

    async def accept(self, caller: Caller, asked: ImportInput) -> Accepted:
        """Check the request. Raises InvalidInput, NotPermitted."""
        draft = new_task_image(caller, _described(asked))
        if draft.disk_format != asked.import_from_format:  # else the service's schema judges it
            require_disk_format("import_from_format", asked.import_from_format)
            self._require_able(asked.import_from_format, draft)
        _expected_digest(asked)
        try:
            await self.fetcher.check(asked.import_from, owner=caller.project)
        except FetchRefused as error:
            raise InvalidInput("import_from", f"cannot be fetched: {error.reason}") from error
        return Accepted(new_image=draft)

    async def run(self, context: TaskContext, asked: ImportInput) -> ImageResult:
        """Import it. Raises the errors of fetching, inspecting, converting and storing."""
        context.rely_on_own_timeout()
        async with self.fetcher.open(
            asked.import_from, owner=context.task.owner, is_compared=bool(asked.checksum)
        ) as fetched:
            require_announced(fetched.size_bytes, self.check_factory.max_size_bytes())
            stream_checks = self._stream_checks(context, asked, fetched)
            if context.image.disk_format == asked.import_from_format:
                await self._store(context, fetched, stream_checks)
            else:
                await self._convert(context, asked, fetched, stream_checks)
        return ImageResult(image_id=context.image.id)

    async def _store(
        self, context: TaskContext, fetched: Fetched, stream_checks: StreamChecks
    ) -> None:
        async with aclosing(stream_checks.of_chunks(fetched.chunks)) as body:
            await context.store(
                body, announced_bytes=fetched.size_bytes, phase=FETCHING, has_own_timeout=True
            )

    async def _convert(
        self,
        context: TaskContext,
        asked: ImportInput,
        fetched: Fetched,
        stream_checks: StreamChecks,
    ) -> None:
        source_format, target_format = asked.import_from_format, context.image.disk_format or ""
        async with (
            aclosing(
                context.counted(FETCHING, fetched.chunks, fetched.size_bytes, has_own_timeout=True)
            ) as body,
            self.conversion.of(
                context, body, source_format, target_format, stream_checks
            ) as converted,
        ):
            await context.store(converted.chunks, announced_bytes=converted.size_bytes)

    def _stream_checks(
        self, context: TaskContext, asked: ImportInput, fetched: Fetched
    ) -> StreamChecks:
        stream_checks = self.check_factory.begin_import(
            context.image,
            fetched.host,
            disk_format=asked.import_from_format,
            properties=asked.image_properties,
        )
        stream_checks.expect(_expected_digest(asked))
        return stream_checks

    def _require_able(self, source_format: str, draft: Image) -> None:
        if not is_inspected(draft.container_format or ""):
            raise InvalidInput(
                PROPERTIES_FIELD,
                f"says a container ({draft.container_format}); only bare disks convert",
            )
        self.conversion.require_able(
            source_format,
            draft.disk_format or "",
            field="import_from_format",
            refusal="cannot be converted",
        )


def _described(asked: ImportInput) -> dict[str, object]:
    """The attributes of the image; a plain disk in the given format, by default."""
    return {
        "disk_format": asked.import_from_format,
        "container_format": "bare",
        **asked.image_properties,
    }


def _expected_digest(asked: ImportInput) -> ExpectedDigest | None:
    flaw = "is not ALGORITHM:HEXADECIMAL, such as sha256:e3b0c4…"
    return read_expected_digest("checksum", asked.checksum, flaw)
