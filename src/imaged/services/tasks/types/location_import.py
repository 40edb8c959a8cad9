"""``location_import``: fetches the data of an existing image from a URL.

The Image API lets clients add a location to an image. Client locations are never kept: the data is
fetched once, checked, and stored. So an image never depends on data that others may change or
remove.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from msgspec import Meta, Struct, field

from imaged.core.access import Caller, permitted_change
from imaged.core.digests import ExpectedDigest
from imaged.core.errors import FetchRefused, InvalidInput
from imaged.core.image import Image
from imaged.core.limits import require_announced
from imaged.core.policy_rules import Rule
from imaged.core.precondition import Precondition, on_condition
from imaged.core.task import TaskFacts
from imaged.ports.fetcher import Fetcher
from imaged.services.tasks.context import FETCHING, StreamCheckFactory, TaskContext
from imaged.services.tasks.task_service import TaskService
from imaged.services.tasks.task_type import (
    Example,
    ImageId,
    ImageResult,
    TaskInput,
    read_expected_digest,
    read_input,
)
from imaged.services.tasks.types.api_image_import import begin_import_call
from imaged.services.tasks.types.import_methods import WebDownload


class ValidationData(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The expected digest of the data; not checked if empty."""

    os_hash_algo: str = ""
    os_hash_value: str = ""


class LocationImportInput(TaskInput):
    """The location call as defined by the Image API."""

    image_id: ImageId
    loc_url: Annotated[str, Meta(description="An http or https URL.")]
    validation_data: ValidationData = field(default_factory=ValidationData)


@dataclass(frozen=True, slots=True)
class LocationImport:
    """The task type."""

    fetcher: Fetcher
    check_factory: StreamCheckFactory

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
        ImageResult(image_id="5a2dbfcf-9b4a-4b7e-8ba8-7cf1a4a7c0e5"),
    )

    async def run(self, context: TaskContext, asked: LocationImportInput) -> ImageResult:
        """Fetch, check and store the data."""
        image, expected = context.image, _expected_digest(asked)
        context.rely_on_own_timeout()
        async with self.fetcher.open(
            asked.loc_url,
            owner=context.task.owner,
            is_compared=expected is not None,
        ) as fetched:
            require_announced(fetched.size_bytes, self.check_factory.max_size_bytes())
            stream_checks = self.check_factory.begin_import(image, fetched.host)
            stream_checks.expect(expected)
            async with aclosing(stream_checks.of_chunks(fetched.chunks)) as body:
                await context.store(
                    body, announced_bytes=fetched.size_bytes, phase=FETCHING, has_own_timeout=True
                )
        return ImageResult(image_id=image.id)


class LocationImportService:
    """Accepts calls that add a location."""

    def __init__(self, task_service: TaskService, kind: LocationImport) -> None:
        self._task_service = task_service
        self._kind = kind

    async def request(
        self,
        caller: Caller,
        image_id: str,
        location: Mapping[str, object],
        request_id: str | None = None,
        condition: Precondition | None = None,
    ) -> Image:
        """Accept the call with ``url`` and, optionally, ``validation_data``.

        Raises ImageNotFound, NotPermitted, the errors of ``condition``, InvalidInput,
        ImportNotReady, InvalidTransition, TooManyTasks.
        """
        fields = _fields(image_id, location)
        asked = read_input(self._kind, fields)
        _expected_digest(asked)
        task = self._task_service.new_task(caller, self._kind.facts, fields, image_id, request_id)
        begin = begin_import_call(task, WebDownload(self._kind.fetcher))
        change = permitted_change(caller, Rule.ADD_IMAGE_LOCATION, on_condition(condition, begin))
        check = partial(self._check, asked.loc_url, caller)
        return await self._task_service.store_in_image(caller, image_id, change, check)

    async def _check(self, url: str, caller: Caller) -> None:
        try:
            await self._kind.fetcher.check(url, owner=caller.project)
        except FetchRefused as error:
            raise InvalidInput("url", f"cannot be fetched: {error.reason}") from error


def _fields(image_id: str, location: Mapping[str, object]) -> Mapping[str, object]:
    """The input of the task for the call. Raises InvalidInput."""
    for name in location:
        if name not in {"url", "validation_data"}:
            raise InvalidInput(name, "is not known")
    if "url" not in location:
        raise InvalidInput("url", "is missing")
    rest = {name: value for name, value in location.items() if name != "url"}
    return {"image_id": image_id, "loc_url": location["url"], **rest}


def _expected_digest(asked: LocationImportInput) -> ExpectedDigest | None:
    algorithm, value = asked.validation_data.os_hash_algo, asked.validation_data.os_hash_value
    text = f"{algorithm}:{value}" if algorithm or value else ""
    return read_expected_digest("validation_data", text, "is invalid")
