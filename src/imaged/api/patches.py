"""Patches of images: two media types, both a small part of JSON Patch.

v2.1: ``[{"op": "replace", "path": "/name", "value": "…"}]``; adding an existing property replaces
it.
v2.0: ``[{"replace": "/name", "value": "…"}]``; adding an existing property is a conflict.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from imaged.api.http_errors import MediaTypeRefused
from imaged.core.edits import Action, Operation
from imaged.core.errors import InvalidRequest, ReadOnlyAttribute

V2_0 = "application/openstack-images-v2.0-json-patch"
V2_1 = "application/openstack-images-v2.1-json-patch"

PATCH_OPERATIONS = ("add", "remove", "replace")
_ONE_OF = f"must be one of {', '.join(PATCH_OPERATIONS)}"
_BAD_ESCAPE = re.compile("~(?![01])")


def operations(media_type: str, document: Any) -> list[Operation]:
    """Parse a patch. Raises MediaTypeRefused, InvalidRequest, ReadOnlyAttribute."""
    read = _READERS.get(media_type)
    if read is None:
        raise MediaTypeRefused(media_type, _READERS, {"Accept-Patch": ", ".join(_READERS)})
    if not isinstance(document, list) or not all(isinstance(step, dict) for step in document):
        raise InvalidRequest("The body must be an array of operation objects.")
    return [read(step) for step in document]


def require_patch(media_type: str) -> None:
    """Refuse other media types before the body is read. Raises MediaTypeRefused."""
    operations(media_type, [])


def _read_v2_1(step: dict[str, Any]) -> Operation:
    op = step.get("op")
    if op not in PATCH_OPERATIONS:
        raise InvalidRequest(f"The operation {op!r} is unknown; 'op' {_ONE_OF}.")
    if "path" not in step:
        raise InvalidRequest(f"The operation {op!r} needs a 'path'.")
    return _operation(Action(op), op, step["path"], step)


def _read_v2_0(step: dict[str, Any]) -> Operation:
    named = [op for op in PATCH_OPERATIONS if op in step]
    if len(named) != 1:
        raise InvalidRequest(f"An operation must have one member, and only one, that {_ONE_OF}.")
    (op,) = named
    action = Action.ADD_ABSENT if op == "add" else Action(op)
    return _operation(action, op, step[op], step)


def _operation(action: Action, op: str, path: Any, step: Mapping[str, Any]) -> Operation:
    name = _name_at(path)
    if action is not Action.REMOVE and "value" not in step:
        raise InvalidRequest(f"The operation {op!r} on {path!r} needs a 'value'.")
    return Operation(action, name, step.get("value"))


def _name_at(path: Any) -> str:
    """The attribute that a JSON pointer names."""
    if not isinstance(path, str) or not path.startswith("/"):
        raise InvalidRequest(f"The path {path!r} must be a string that begins with '/'.")
    first, *others = path[1:].split("/")
    if first == "locations":
        raise ReadOnlyAttribute("locations", "cannot be set by clients")
    if others or not first:
        raise InvalidRequest(f"The path {path!r} must name one attribute, as '/name' does.")
    if _BAD_ESCAPE.search(first):
        raise InvalidRequest(f"The path {path!r} has a '~' that is neither '~0' nor '~1'.")
    return first.replace("~1", "/").replace("~0", "~")


_READERS: Mapping[str, Callable[[dict[str, Any]], Operation]] = {V2_0: _read_v2_0, V2_1: _read_v2_1}
