"""The interface of a task type; ``types`` has a module for each.

    class VerifyInput(TaskInput):
        image_id: ImageId

    class VerifyResult(TaskResult):
        image_id: str
        size_bytes: int

    class Verify:
        facts = TaskFacts("verify")
        input = VerifyInput
        example = Example(VerifyInput(image_id="…"), VerifyResult(image_id="…", size_bytes=1))

        async def accept(self, caller, asked): ...    # at POST: refuse what can be refused
        async def run(self, context, asked): ...      # by a worker, perhaps more than once

A deployer's types have the same interface. Entry points of the group ``imaged.tasks`` name
functions that receive ``TaskResources`` and return a type; they are called once, at the start of
the process. See docs/how-to/add-a-task-type.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Protocol, TypeVar, cast

import msgspec

from imaged.core.access import Caller
from imaged.core.attributes import UUID_PATTERN
from imaged.core.block import TransferBudget
from imaged.core.digests import ExpectedDigest
from imaged.core.errors import InvalidInput, UnknownTaskType
from imaged.core.image import Image
from imaged.core.task import TaskFacts
from imaged.ports.catalog import Catalog
from imaged.ports.export import Destination
from imaged.ports.fetcher import Fetcher
from imaged.ports.store import Stores
from imaged.services.downloads import Downloads
from imaged.services.tasks.context import StreamCheckFactory, TaskContext
from imaged.services.tasks.image_converter import ImageConverter

#: Its entry points name the types of a deployer.
TASK_TYPE_GROUP = "imaged.tasks"

#: How an input names an image.
ImageId = Annotated[str, msgspec.Meta(pattern=UUID_PATTERN, description="The id of an image.")]
#: The attributes of the image to create, as in POST /v2/images.
ImageProperties = dict[str, Any]


class TaskInput(msgspec.Struct, forbid_unknown_fields=True):
    """Base of the inputs of task types. Fields without a default are required."""


class TaskResult(msgspec.Struct, omit_defaults=True):
    """Base of the results of task types."""


class ImageResult(TaskResult):
    """The image that was created, or received its data."""

    image_id: str


InputT = TypeVar("InputT", bound=TaskInput)


@dataclass(frozen=True, slots=True)
class Example:
    """An example for the reference, which tests verify."""

    input: TaskInput
    result: TaskResult


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer of a type that accepts a task."""

    image_id: str | None = None  # that it concerns: its viewers can list the task
    new_image: Image | None = None  # the image to create, made by ``edits.new_image``
    placeholder: Image | None = None  # what stands for what the attempt finds out, not judged yet
    is_brief: bool = False  # a few transactions, without bytes: run immediately


class TaskType(Protocol[InputT]):
    """One type of task. It keeps no state between calls: any worker may run the next attempt."""

    @property
    def facts(self) -> TaskFacts:
        """Its name and other properties."""
        ...

    @property
    def input(self) -> type[InputT]:
        """The class of its input."""
        ...

    @property
    def example(self) -> Example:
        """An example for the reference."""
        ...

    async def run(self, context: TaskContext, asked: InputT) -> TaskResult:
        """Run the task. Check permissions again with ``context.caller``: they may have changed.

        An error ends the task with ``error.for_clients`` as its message: TaskFailed with a sentence
        of its own, or any other ImagedError. After CatalogError or cancellation another attempt
        follows, so all steps must be repeatable.
        """
        ...


class CreatableType(TaskType[InputT], Protocol[InputT]):
    """A type that clients may create by POST /v2/tasks; its facts say so."""

    async def accept(self, caller: Caller, asked: InputT) -> Accepted:
        """Check whether the task is possible, before anything is stored.

        Raises InvalidInput (400, names the field), ImageNotFound (404), DataForbidden (403),
        InvalidTransition (409), and the errors of ``edits.new_image``.
        """
        ...


class TaskTypeRegistry:
    """The known types, by name."""

    def __init__(self, types: Iterable[TaskType[Any]] = ()) -> None:
        self._types = {kind.facts.name: kind for kind in types}

    def __iter__(self) -> Iterator[TaskType[Any]]:
        return iter(self._types.values())

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all types."""
        return tuple(self._types)

    @property
    def creatable(self) -> tuple[str, ...]:
        """The names of the types that clients may create."""
        return tuple(kind.facts.name for kind in self if kind.facts.is_creatable)

    def get(self, name: str) -> TaskType[Any]:
        """The type of this name. Raises UnknownTaskType."""
        try:
            return self._types[name]
        except KeyError:
            raise UnknownTaskType(name, ", ".join(self.names)) from None

    def creatable_type(self, name: str) -> CreatableType[Any]:
        """The type that a client wants to create. Raises UnknownTaskType."""
        if name not in self.creatable:
            raise UnknownTaskType(name, ", ".join(self.creatable))
        return cast("CreatableType[Any]", self._types[name])


def read_input(kind: TaskType[InputT], fields: Mapping[str, object]) -> InputT:
    """Parse the input of a task by its type. Raises InvalidInput."""
    try:
        return msgspec.convert(dict(fields), kind.input)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None


def read_expected_digest(field: str, text: str, flaw: str) -> ExpectedDigest | None:
    """The digest in a field of the input; None if it is empty.

    Raises InvalidInput, whose text begins with ``flaw``.
    """
    try:
        return ExpectedDigest.parse(text) if text else None
    except ValueError as error:
        raise InvalidInput(field, f"{flaw}: {error}") from error


class _MsgspecMessage:
    """msgspec's messages: ``Expected `str`, got `int` - at `$.image_id```."""

    place: ClassVar = re.compile(r"(.*) - at `\$\.?(.*)`$", re.DOTALL)
    field: ClassVar = re.compile(r"Object (?:missing required|contains unknown) field `(.*)`")


def _invalid(sentence: str) -> InvalidInput:
    found = _MsgspecMessage.place.fullmatch(sentence)
    why, path = found.groups() if found else (sentence, "")
    if missing := _MsgspecMessage.field.fullmatch(why):
        name = ".".join(part for part in (path, missing[1]) if part)
        return InvalidInput(name, "is missing" if "missing" in why else "is not known")
    return InvalidInput(path or "input", f"is invalid: {why[:1].lower()}{why[1:]}")


@dataclass(frozen=True, slots=True)
class TaskResources:
    """The resources of a type, besides the context of each attempt."""

    catalog: Catalog
    stores: Stores
    downloads: Downloads
    budget: TransferBudget
    fetcher: Fetcher  # restricted by [fetch]
    check_factory: StreamCheckFactory  # for received bytes: limits, and the deployer's checks
    conversion: ImageConverter  # between disk formats
    destinations: Mapping[str, Destination] = field(default_factory=dict)  # of exports
