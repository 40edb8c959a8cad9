"""``api_image_import``: the task behind an import call on an existing image.

The source of the bytes depends on the method of the call; each is an ``ImportMethod``. Staged bytes
are kept until an attempt succeeds or the last one fails.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

from imaged.core.access import Caller, permitted_change
from imaged.core.errors import FormatsUnset, ImportNotReady, InvalidRequest
from imaged.core.image import Change, Image
from imaged.core.policy_rules import Rule
from imaged.core.precondition import Precondition, on_condition
from imaged.core.task import Task, TaskFacts
from imaged.core.uploading import begin_import
from imaged.ports.store import Stores
from imaged.services.tasks.context import StreamCheckFactory, TaskContext
from imaged.services.tasks.task_service import TaskService
from imaged.services.tasks.task_type import Example, ImageId, ImageResult, TaskInput
from imaged.services.tasks.types.import_methods import GLANCE_DIRECT, ImportMethod

GLANCE_DIRECT_REQUEST: Mapping[str, Any] = {"method": {"name": GLANCE_DIRECT}}
IMPORT_FIELDS = ("method", "stores", "all_stores", "all_stores_must_succeed")


class ImageImportInput(TaskInput):
    """The import call as defined by the Image API."""

    image_id: ImageId
    import_req: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """The parsed body of an import call."""

    method: str
    arguments: Mapping[str, Any]  # of the method, including its name
    store: str | None = None  # None: the default store


@dataclass(frozen=True, slots=True)
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
        ImageResult(image_id="5a2dbfcf-9b4a-4b7e-8ba8-7cf1a4a7c0e5"),
    )

    methods: Mapping[str, ImportMethod]
    stores: Stores
    check_factory: StreamCheckFactory

    async def run(self, context: TaskContext, asked: ImageImportInput) -> ImageResult:
        """Make the bytes the data of the image."""
        request = _read_request(asked.import_req, self.methods, self.stores)
        image = context.image
        async with self.methods[request.method].open(context, request.arguments) as incoming:
            stream_checks = self.check_factory.begin_import(image, incoming.host)
            async with aclosing(stream_checks.of_chunks(incoming.chunks)) as body:
                await context.store(
                    body,
                    announced_bytes=incoming.size_bytes,
                    store=request.store,
                    source=incoming.source,
                    has_own_timeout=incoming.has_own_timeout,
                )
        return ImageResult(image_id=image.id)


class ImageImportService:
    """Accepts import calls."""

    def __init__(self, task_service: TaskService, kind: ImageImport) -> None:
        self._task_service = task_service
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
        condition: Precondition | None = None,
    ) -> Image:
        """Accept the call; a worker, here or elsewhere, will run its task.

        Raises ImageNotFound, NotPermitted, the errors of ``condition``, InvalidRequest,
        UnknownStore, ImportNotReady, InvalidTransition and TooManyTasks.
        """
        request = _read_request(import_req, self._kind.methods, self._kind.stores)
        method = self._kind.methods[request.method]
        asked = {"image_id": image_id, "import_req": dict(import_req)}
        task = self._task_service.new_task(caller, self._kind.facts, asked, image_id, request_id)
        begin = on_condition(condition, begin_import_call(task, method))
        change = permitted_change(caller, Rule.MODIFY_IMAGE, begin)
        check = partial(method.check, request.arguments, caller.project)
        return await self._task_service.store_in_image(caller, image_id, change, check)


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


def _read_request(body: object, methods: Collection[str], stores: Stores) -> ImportRequest:
    """Read the body of an import call. Raises InvalidRequest, UnknownStore."""
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object with the import's 'method'.")
    for name in body:
        if name not in IMPORT_FIELDS:
            raise InvalidRequest(f"The field {name!r} of an import is not known.")
    arguments = _method(body, methods)
    return ImportRequest(arguments["name"], arguments, _store(body, stores))


def _method(body: Mapping[str, Any], methods: Collection[str]) -> Mapping[str, Any]:
    method = body.get("method")
    if method is None:
        raise InvalidRequest("The import's 'method' is missing.")
    if not isinstance(method, dict) or not isinstance(method.get("name"), str):
        raise InvalidRequest("The import's 'method' must be a JSON object with a 'name'.")
    if method["name"] not in methods:
        known = ", ".join(methods)
        raise InvalidRequest(f"There is no import method {method['name']!r}; possible: {known}.")
    return method


def _store(body: Mapping[str, Any], stores: Stores) -> str | None:
    for name in IMPORT_FIELDS[2:]:
        if not isinstance(body.get(name, False), bool):
            raise InvalidRequest(f"The import's {name!r} must be true or false.")
    named = body.get("stores") or []
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise InvalidRequest("The import's 'stores' must be an array of names.")
    if body.get("all_stores"):
        if named:
            raise InvalidRequest("An import has 'stores' or 'all_stores', not both.")
        named = list(stores.by_name)
    if len(named) > 1:
        raise InvalidRequest("An import writes to one store; name one in 'stores'.")
    return stores.pick(named[0]).name if named else None
