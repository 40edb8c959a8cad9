"""``location_import``: an image whose data is at a URL, and is fetched from there.

The Image API lets clients add a location to an image. No location of a client's is ever kept here:
what is there is fetched once, checked, and put into a store. So an image never depends on what
somebody else may change or take away.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta, Struct, field

from imaged.core.access import Caller, by_owner
from imaged.core.digests import parse_promise
from imaged.core.errors import FetchRefused, InvalidInput
from imaged.core.image import Image
from imaged.core.limits import require_announced
from imaged.core.task import TaskFacts
from imaged.ports.catalog import Catalog
from imaged.ports.fetcher import Fetcher
from imaged.services.loops import Alarm
from imaged.services.tasks.context import TaskContext
from imaged.services.tasks.desk import TaskDesk
from imaged.services.tasks.examination import Examiner
from imaged.services.tasks.image_import import begin_import_call
from imaged.services.tasks.import_methods import WebDownload
from imaged.services.tasks.types import Example, ImageId, TaskInput, TaskResult, read_input

FETCHING = "fetching"


class ValidationData(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What the data must be; not looked at if empty."""

    os_hash_algo: str = ""
    os_hash_value: str = ""


class LocationImportInput(TaskInput):
    """The location call, as the Image API has it."""

    image_id: ImageId
    loc_url: Annotated[str, Meta(description="An http or https URL.")]
    validation_data: ValidationData = field(default_factory=ValidationData)


class LocationImportResult(TaskResult):
    """The image that has its data now."""

    image_id: str


@dataclass(frozen=True, slots=True)
class LocationImport:
    """The type."""

    fetcher: Fetcher
    examiner: Examiner

    facts = TaskFacts("location_import", is_creatable=False)
    input = LocationImportInput
    example = Example(
        LocationImportInput(
            image_id="5a2dbfcf-9b4a-4b7e-8ba8-7cf1a4a7c0e5",
            loc_url="https://images.example.net/debian-12.qcow2",
            validation_data=ValidationData(
                "sha256", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
            ),
        ),
        LocationImportResult(image_id="5a2dbfcf-9b4a-4b7e-8ba8-7cf1a4a7c0e5"),
    )

    async def run(self, context: TaskContext, asked: LocationImportInput) -> LocationImportResult:
        """Fetch it, look at it, and store it."""
        image = context.image
        context.rely_on_limits()
        async with self.fetcher.open(
            asked.loc_url,
            owner=context.task.owner,
            is_compared=_promise(asked.validation_data) is not None,
        ) as fetched:
            require_announced(fetched.size_bytes, self.examiner.max_size_bytes())
            examination = self.examiner.begin_import(
                context,
                disk_format=image.disk_format or "",
                properties=image.properties,
                source=fetched.host,
            )
            if promise := _promise(asked.validation_data):
                examination.expect(*promise)
            async with aclosing(examination.of(fetched.chunks)) as body:
                await context.store(
                    body, announced_bytes=fetched.size_bytes, phase=FETCHING, has_limits=True
                )
        return LocationImportResult(image_id=image.id)


class LocationImports:
    """Accepts calls that add a location."""

    def __init__(self, catalog: Catalog, desk: TaskDesk, bell: Alarm, kind: LocationImport) -> None:
        self._catalog = catalog
        self._desk = desk
        self._bell = bell
        self._kind = kind

    async def ask(
        self,
        caller: Caller,
        image_id: str,
        location: Mapping[str, object],
        request_id: str | None = None,
    ) -> Image:
        """Accept the call: ``url``, and perhaps ``validation_data``.

        Raises ImageNotFound, NotPermitted, InvalidInput, ImportNotReady, InvalidTransition,
        TooManyTasks.
        """
        fields = _fields(image_id, location)
        asked = read_input(self._kind, fields)
        _promise(asked.validation_data)
        task = self._desk.draw_up(caller, self._kind.facts, fields, image_id, request_id)
        change = by_owner(caller, begin_import_call(task, WebDownload(self._kind.fetcher)))
        change(await self._catalog.get_image(image_id))
        await self._check(asked.loc_url, caller)
        await self._desk.require_room(caller)
        image = await self._catalog.modify_image(image_id, change)
        self._bell.ring()
        return image

    async def _check(self, url: str, caller: Caller) -> None:
        try:
            await self._kind.fetcher.check(url, owner=caller.project)
        except FetchRefused as error:
            raise InvalidInput("url", f"cannot be fetched: {error.reason}") from error


def _fields(image_id: str, location: Mapping[str, object]) -> Mapping[str, object]:
    """The call as the task's input. Raises InvalidInput."""
    for name in location:
        if name not in {"url", "validation_data"}:
            raise InvalidInput(name, "is not known")
    if "url" not in location:
        raise InvalidInput("url", "is missing")
    rest = {name: value for name, value in location.items() if name != "url"}
    return {"image_id": image_id, "loc_url": location["url"], **rest}


def _promise(data: ValidationData) -> tuple[str, str] | None:
    """The algorithm and the value. Raises InvalidInput."""
    if not data.os_hash_algo and not data.os_hash_value:
        return None
    try:
        return parse_promise(f"{data.os_hash_algo}:{data.os_hash_value}")
    except ValueError as error:
        raise InvalidInput("validation_data", f"is of no use: {error}") from error
