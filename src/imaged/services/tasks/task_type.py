"""What a type of task is, to the runner and to the API; one module for each beside this one.

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

A deployer's types are the same, and come by the entry points ``imaged.tasks``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol, TypeVar, cast

import msgspec

from imaged.core.access import Caller
from imaged.core.attributes import UUID_PATTERN
from imaged.core.errors import InvalidInput, UnknownTaskType
from imaged.core.image import Image
from imaged.core.task import TaskFacts
from imaged.services.tasks.context import TaskContext

#: How an input names an image.
ImageId = Annotated[str, msgspec.Meta(pattern=UUID_PATTERN, description="The id of an image.")]
#: What clients write on the image that is made, as in POST /v2/images.
ImageProperties = dict[str, Any]


class TaskInput(msgspec.Struct, forbid_unknown_fields=True):
    """Base of what a type is asked with. Fields without a default are required."""


class TaskResult(msgspec.Struct, omit_defaults=True):
    """Base of what a type answers with, when it was successful."""


InputT = TypeVar("InputT", bound=TaskInput)


@dataclass(frozen=True, slots=True)
class Example:
    """For the reference, and for the tests that hold it to the truth."""

    input: TaskInput
    result: TaskResult


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a type accepts a task as."""

    image_id: str | None = None  # the image that it is about: whoever sees that lists the task
    new_image: Image | None = None  # the image that it is to make, as ``edits.new_image`` makes it
    is_brief: bool = False  # a few transactions, and no bytes: whoever accepts it does it at once


class TaskType(Protocol[InputT]):
    """One type of task. It keeps nothing between calls: any worker may do the next attempt."""

    @property
    def facts(self) -> TaskFacts:
        """Its name, and what else is true of it."""
        ...

    @property
    def input(self) -> type[InputT]:
        """What it is asked with."""
        ...

    @property
    def example(self) -> Example:
        """For the reference."""
        ...

    async def run(self, context: TaskContext, asked: InputT) -> TaskResult:
        """Do it. Rights are those of ``context.caller``: look again, things change meanwhile.

        What is raised ends the task with ``error.for_clients`` as its message: TaskFailed with a
        sentence of its own, or any other ImagedError. CatalogError and being cancelled do not:
        another attempt follows, so steps must bear being repeated.
        """
        ...


class CreatableType(TaskType[InputT], Protocol[InputT]):
    """One that clients may ask for by POST /v2/tasks; its facts say so."""

    async def accept(self, caller: Caller, asked: InputT) -> Accepted:
        """Look whether it can be done, before anything is stored.

        Raises InvalidInput (400, names the field), ImageNotFound (404), DataForbidden (403),
        InvalidTransition (409), and whatever ``edits.new_image`` refuses.
        """
        ...


class TaskTypeRegistry:
    """The types that there are, by name."""

    def __init__(self, types: Iterable[TaskType[Any]] = ()) -> None:
        self._types = {kind.facts.name: kind for kind in types}

    def __iter__(self) -> Iterator[TaskType[Any]]:
        return iter(self._types.values())

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self._types)

    @property
    def creatable(self) -> tuple[str, ...]:
        """Those that clients may ask for."""
        return tuple(kind.facts.name for kind in self if kind.facts.is_creatable)

    def get(self, name: str) -> TaskType[Any]:
        """The type of this name. Raises UnknownTaskType."""
        try:
            return self._types[name]
        except KeyError:
            raise UnknownTaskType(name, ", ".join(self.names)) from None

    def creatable_type(self, name: str) -> CreatableType[Any]:
        """The type that a client asks for. Raises UnknownTaskType."""
        if name not in self.creatable:
            raise UnknownTaskType(name, ", ".join(self.creatable))
        return cast("CreatableType[Any]", self._types[name])


def read_input(kind: TaskType[InputT], fields: Mapping[str, object]) -> InputT:
    """What a client sent, as the type understands it. Raises InvalidInput."""
    try:
        return msgspec.convert(dict(fields), kind.input)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None


class _MsgspecMessage:
    """msgspec's sentences: ``Expected `str`, got `int` - at `$.image_id```."""

    place: ClassVar = re.compile(r"(.*) - at `\$\.?(.*)`$", re.DOTALL)
    field: ClassVar = re.compile(r"Object (?:missing required|contains unknown) field `(.*)`")


def _invalid(sentence: str) -> InvalidInput:
    found = _MsgspecMessage.place.fullmatch(sentence)
    why, path = found.groups() if found else (sentence, "")
    if missing := _MsgspecMessage.field.fullmatch(why):
        name = ".".join(part for part in (path, missing[1]) if part)
        return InvalidInput(name, "is missing" if "missing" in why else "is not known")
    return InvalidInput(path or "input", f"is not what it should be: {why[:1].lower()}{why[1:]}")
