"""``api_image_import``: the task behind an import call on an image that its client made.

What there is to import depends on the method of the call; each is an ``ImportMethod``. Staged
bytes stay until an attempt succeeds or the last one is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

from imaged.core.access import Caller, by_owner
from imaged.core.errors import FormatsUnset, ImportNotReady
from imaged.core.image import Change, Image
from imaged.core.task import Task, TaskFacts
from imaged.core.writing import begin_import
from imaged.ports.catalog import Catalog
from imaged.ports.store import Stores
from imaged.services.loops import Alarm
from imaged.services.tasks.context import TaskContext
from imaged.services.tasks.desk import TaskDesk
from imaged.services.tasks.examination import Examiner
from imaged.services.tasks.import_methods import STAGED, ImportMethod
from imaged.services.tasks.import_request import read_request
from imaged.services.tasks.types import Example, ImageId, TaskInput, TaskResult

JUST_STAGED: Mapping[str, Any] = {"method": {"name": STAGED}}


class ImageImportInput(TaskInput):
    """The import call, as the Image API has it."""

    image_id: ImageId
    import_req: dict[str, Any]


class ImageImportResult(TaskResult):
    """The image that has its data now."""

    image_id: str


class ImageImport:
    """The type."""

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
        self, methods: Mapping[str, ImportMethod], stores: Stores, examiner: Examiner
    ) -> None:
        self.methods = methods
        self.stores = stores
        self._examiner = examiner

    async def run(self, context: TaskContext, asked: ImageImportInput) -> ImageImportResult:
        """Make the bytes the data of the image."""
        request = read_request(asked.import_req, self.methods, self.stores)
        image = context.image
        async with self.methods[request.method].open(context, request.arguments) as incoming:
            examination = self._examiner.begin_import(
                context,
                disk_format=image.disk_format or "",
                properties=image.properties,
                source=incoming.host,
            )
            async with aclosing(examination.of(incoming.chunks)) as body:
                await context.store(
                    body,
                    announced_bytes=incoming.size_bytes,
                    store=request.store,
                    source=incoming.source,
                    has_limits=incoming.has_limits,
                )
        return ImageImportResult(image_id=image.id)


class ImageImports:
    """Accepts import calls."""

    def __init__(
        self,
        catalog: Catalog,
        desk: TaskDesk,
        bell: Alarm,
        kind: ImageImport,
    ) -> None:
        self._catalog = catalog
        self._desk = desk
        self._bell = bell
        self._kind = kind

    @property
    def methods(self) -> Sequence[str]:
        """Their names."""
        return tuple(self._kind.methods)

    async def ask(
        self,
        caller: Caller,
        image_id: str,
        import_req: Mapping[str, Any] = JUST_STAGED,
        request_id: str | None = None,
    ) -> Image:
        """Accept the call; a worker, here or elsewhere, will pick its task up.

        Raises ImageNotFound, NotPermitted, InvalidRequest, UnknownStore, ImportNotReady,
        InvalidTransition and TooManyTasks.
        """
        request = read_request(import_req, self._kind.methods, self._kind.stores)
        method = self._kind.methods[request.method]
        asked = {"image_id": image_id, "import_req": dict(import_req)}
        task = self._desk.draw_up(caller, self._kind.facts, asked, image_id, request_id)
        change = by_owner(caller, begin_import_call(task, method))
        change(await self._catalog.get_image(image_id))  # what is refused is refused before ...
        await method.check(request.arguments, caller.project)  # ... anybody else is asked
        await self._desk.require_room(caller)
        image = await self._catalog.modify_image(image_id, change)
        self._bell.ring()
        return image


def begin_import_call(task: Task, method: ImportMethod) -> Change:
    """Accept an import call, on an image that the method is for. Raises ImportNotReady."""

    def change(image: Image) -> Image:
        method.require_ready(image)
        try:
            return begin_import(task)(image)
        except FormatsUnset as error:
            why = "its 'disk_format' and 'container_format' have to be set first"
            raise ImportNotReady(why) from error

    return change
