"""``api_image_import``: the task behind an import call on an existing image.

The source of the bytes depends on the method of the call; each is an ``ImportMethod``. Staged bytes
are kept until an attempt succeeds or the last one fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

from imaged.core.access import Caller, by_owner
from imaged.core.errors import FormatsUnset, ImportNotReady
from imaged.core.image import Change, Image
from imaged.core.task import Task, TaskFacts
from imaged.core.uploading import begin_import
from imaged.ports.image_catalog import ImageCatalog
from imaged.ports.store import Stores
from imaged.services.periodic import Wakeup
from imaged.services.tasks.context import TaskContext
from imaged.services.tasks.stream_checks import StreamCheckFactory
from imaged.services.tasks.task_service import TaskService
from imaged.services.tasks.task_type import Example, ImageId, TaskInput, TaskResult
from imaged.services.tasks.types.import_methods import GLANCE_DIRECT, ImportMethod
from imaged.services.tasks.types.import_request import read_request

GLANCE_DIRECT_REQUEST: Mapping[str, Any] = {"method": {"name": GLANCE_DIRECT}}


class ImageImportInput(TaskInput):
    """The import call as defined by the Image API."""

    image_id: ImageId
    import_req: dict[str, Any]


class ImageImportResult(TaskResult):
    """The image that received its data."""

    image_id: str


class ImageImport:
    """The task type."""

    facts = TaskFacts("api_image_import", is_creatable=False)
    input = ImageImportInput
    example = Example(
        ImageImportInput(
            image_id="5a2dbfcf-9b4a-4b7e-8ba8-7cf1a4a7c0e5",
            import_req={
                "method": {
                    "name": "web-download",
                    "uri": "https://images.example.net/debian-12.qcow2",
                },
                "stores": ["local"],
            },
        ),
        ImageImportResult(image_id="5a2dbfcf-9b4a-4b7e-8ba8-7cf1a4a7c0e5"),
    )

    def __init__(
        self, methods: Mapping[str, ImportMethod], stores: Stores, check_factory: StreamCheckFactory
    ) -> None:
        self.methods = methods
        self.stores = stores
        self._check_factory = check_factory

    async def run(self, context: TaskContext, asked: ImageImportInput) -> ImageImportResult:
        """Make the bytes the data of the image."""
        request = read_request(asked.import_req, self.methods, self.stores)
        image = context.image
        async with self.methods[request.method].open(context, request.arguments) as incoming:
            stream_checks = self._check_factory.begin_import(
                context,
                disk_format=image.disk_format or "",
                properties=image.properties,
                source=incoming.host,
            )
            async with aclosing(stream_checks.of(incoming.chunks)) as body:
                await context.store(
                    body,
                    announced_bytes=incoming.size_bytes,
                    store=request.store,
                    source=incoming.source,
                    has_own_timeout=incoming.has_own_timeout,
                )
        return ImageImportResult(image_id=image.id)


class ImageImportService:
    """Accepts import calls."""

    def __init__(
        self,
        catalog: ImageCatalog,
        task_service: TaskService,
        wakeup: Wakeup,
        kind: ImageImport,
    ) -> None:
        self._catalog = catalog
        self._task_service = task_service
        self._wakeup = wakeup
        self._kind = kind

    @property
    def methods(self) -> Sequence[str]:
        """The names of the methods."""
        return tuple(self._kind.methods)

    async def request(
        self,
        caller: Caller,
        image_id: str,
        import_req: Mapping[str, Any] = GLANCE_DIRECT_REQUEST,
        request_id: str | None = None,
    ) -> Image:
        """Accept the call; a worker, here or elsewhere, will run its task.

        Raises ImageNotFound, NotPermitted, InvalidRequest, UnknownStore, ImportNotReady,
        InvalidTransition and TooManyTasks.
        """
        request = read_request(import_req, self._kind.methods, self._kind.stores)
        method = self._kind.methods[request.method]
        asked = {"image_id": image_id, "import_req": dict(import_req)}
        task = self._task_service.new_task(caller, self._kind.facts, asked, image_id, request_id)
        change = by_owner(caller, begin_import_call(task, method))
        change(await self._catalog.get_image(image_id))  # invalid calls are refused before ...
        await method.check(request.arguments, caller.project)  # ... another host is contacted
        await self._task_service.require_room(caller)
        image = await self._catalog.modify_image(image_id, change)
        self._wakeup.wake()
        return image


def begin_import_call(task: Task, method: ImportMethod) -> Change:
    """Accept an import call if the image is ready for the method. Raises ImportNotReady."""

    def change(image: Image) -> Image:
        method.require_ready(image)
        try:
            return begin_import(task)(image)
        except FormatsUnset as error:
            why = "its 'disk_format' and 'container_format' have to be set first"
            raise ImportNotReady(why) from error

    return change
