"""What is written to an image: by clients at its creation and by patches, by tasks in drafts.

Rule 1: a patch is applied completely or not at all.
Rule 2: both formats are frozen when the image has data or a request is sending it. While data waits
for its import or is being imported, they are not: the data is inspected as the formats that the
image has when it is published.
Rule 3: only an administrator may change the owner of an image; who may make it public, and who may
create it, the policy of the caller says.
Rule 4: a draft is an image that stays invisible until its task has completed it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from imaged.core.access import Caller, require_new, require_visibility
from imaged.core.attributes import (
    ATTRIBUTES,
    Attribute,
    Writable,
    validate_attribute,
    validate_property,
    validate_tag,
)
from imaged.core.claim import Claim, require_claim
from imaged.core.errors import (
    NotPermitted,
    PropertyConflict,
    ReadOnlyAttribute,
    TagNotFound,
    TooMany,
)
from imaged.core.image import Change, ClaimedChange, Image, Visibility, require_formats_declared
from imaged.core.lifecycle import Status
from imaged.core.limits import MAX_PROPERTIES, MAX_TAGS
from imaged.core.task import Task

FORMATS_CHANGEABLE = frozenset({Status.QUEUED, Status.UPLOADING, Status.IMPORTING})


class Action(StrEnum):
    """What an operation does to one attribute or property."""

    ADD = "add"  # replaces an existing one
    ADD_ABSENT = "add absent"  # the first patch format: it must not exist
    REPLACE = "replace"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of a patch."""

    action: Action
    name: str
    value: object = None


def new_image(caller: Caller, new_id: str, attributes: Mapping[str, object]) -> Image:
    """A new image as described by its creator; ``new_id`` is used if the attributes have no id.

    Raises InvalidAttribute, ReadOnlyAttribute, NotPermitted, TooMany.
    """
    editor = _Editor(caller, Image(id=new_id, owner=caller.project), is_new=True)
    for name, value in attributes.items():
        editor.write(name, value)
    return editor.finished()


def begin_draft(image: Image, task: Task) -> Image:
    """The image as a draft, invisible until its task completes it. Raises FormatsUnset."""
    require_formats_declared(image)
    return replace(image, draft=True, status=Status.IMPORTING, task=replace(task, writes=image.id))


def describe(model: Image) -> ClaimedChange:
    """Copy the metadata that became known after the work began, from ``model`` to the draft."""

    def change(image: Image, claim: Claim) -> Image:
        require_claim(image.claim, claim)
        return replace(
            image,
            name=model.name,
            disk_format=model.disk_format,
            container_format=model.container_format,
            min_ram_mib=model.min_ram_mib,
            min_disk_gib=model.min_disk_gib,
            tags=model.tags,
            properties=model.properties,
        )

    return change


def may_change_formats(image: Image) -> bool:
    """Whether both formats may be changed: not while a request sends data, nor after that."""
    is_sent_to = image.status is Status.UPLOADING and image.claim is not None
    return image.status in FORMATS_CHANGEABLE and not is_sent_to


def apply(caller: Caller, image: Image, operations: Iterable[Operation]) -> Image:
    """The image after a patch, or the same object if the patch changes nothing.

    Raises InvalidAttribute, ReadOnlyAttribute, PropertyConflict, NotPermitted, TooMany.
    """
    editor = _Editor(caller, image, is_new=False)
    for operation in operations:
        editor.apply(operation)
    after = editor.finished()
    return image if after == image else after


def add_tag(tag: str) -> Change:
    """Add a tag; adding an existing one changes nothing. Raises InvalidAttribute, TooMany."""

    def change(image: Image) -> Image:
        if validate_tag(tag) in image.tags:
            return image
        if len(image.tags) >= MAX_TAGS:
            raise TooMany("tags", MAX_TAGS)
        return replace(image, tags=(*image.tags, tag))

    return change


def remove_tag(tag: str) -> Change:
    """Remove a tag. Raises TagNotFound."""

    def change(image: Image) -> Image:
        if tag not in image.tags:
            raise TagNotFound(tag)
        return replace(image, tags=tuple(other for other in image.tags if other != tag))

    return change


class _Editor:
    """Collects the changes of one request, and applies them if all are valid."""

    def __init__(self, caller: Caller, image: Image, *, is_new: bool) -> None:
        self._caller = caller
        self._image = image
        self._is_new = is_new
        self._fields: dict[str, Any] = {}
        self._properties = dict(image.properties)

    def apply(self, operation: Operation) -> None:
        name = operation.name
        if operation.action is Action.REMOVE:
            self._remove(name)
            return
        if operation.action is Action.ADD_ABSENT and self._has(name):
            raise PropertyConflict(name, "is there already")
        if operation.action is Action.REPLACE and not self._has(name):
            validate_property(name, "")  # a reserved name gets its own error
            raise PropertyConflict(name, "does not exist")
        self.write(name, operation.value)

    def write(self, name: str, value: object) -> None:
        attribute = ATTRIBUTES.get(name)
        if attribute is None:
            self._properties[name] = validate_property(name, value)
            return
        self._require_writable(attribute)
        right = validate_attribute(attribute, value)
        if name == "owner" and not self._is_new and not self._caller.is_admin:
            raise NotPermitted("Only an administrator may change the attribute 'owner'.")
        if isinstance(right, str) and name == "visibility":
            right = Visibility(right)
            if not self._is_new:
                require_visibility(self._caller, self._image, right)
        if isinstance(right, str) and name == "id":
            right = right.lower()
        self._fields[attribute.field] = right

    def finished(self) -> Image:
        if len(self._properties) > MAX_PROPERTIES:
            raise TooMany("properties", MAX_PROPERTIES)
        after = replace(self._image, properties=self._properties, **self._fields)
        return require_new(self._caller, after) if self._is_new else after

    def _has(self, name: str) -> bool:
        return name in ATTRIBUTES or name in self._properties

    def _remove(self, name: str) -> None:
        attribute = ATTRIBUTES.get(name)
        if attribute is not None:
            self._require_writable(attribute)
            raise ReadOnlyAttribute(name, "cannot be removed")
        validate_property(name, "")
        if name not in self._properties:
            raise PropertyConflict(name, "does not exist")
        del self._properties[name]

    def _require_writable(self, attribute: Attribute) -> None:
        match attribute.writable:
            case Writable.NEVER:
                raise ReadOnlyAttribute(attribute.name)
            case Writable.AT_CREATION if not self._is_new:
                raise ReadOnlyAttribute(attribute.name)
            case Writable.BEFORE_DATA if not may_change_formats(self._image):
                raise ReadOnlyAttribute(
                    attribute.name,
                    "can only be changed while the image is queued, its data is staged, or it is "
                    "importing",
                )
            case _:
                pass
