"""The new images of tasks, from the ``image_properties`` of their input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import uuid4

from imaged.core import edits
from imaged.core.access import Caller
from imaged.core.disk_format import DISK_FORMATS
from imaged.core.errors import InvalidAttribute, InvalidInput, ReadOnlyAttribute, TooMany
from imaged.core.image import Image

PROPERTIES_FIELD = "image_properties"


def new_task_image(caller: Caller, attributes: Mapping[str, object]) -> Image:
    """The image as described by its creator. Raises InvalidInput, NotPermitted."""
    with as_invalid_input():
        return edits.new_image(caller, str(uuid4()), attributes)


@contextmanager
def as_invalid_input() -> Iterator[None]:
    """Report an invalid attribute as an invalid input of the task. Raises InvalidInput."""
    try:
        yield
    except (InvalidAttribute, ReadOnlyAttribute, TooMany) as error:
        raise InvalidInput(PROPERTIES_FIELD, f"cannot be used: {str(error).rstrip('.')}") from error


def require_disk_format(field: str, name: str) -> None:
    """Raise InvalidInput for anything but a disk format of the Image API."""
    if name not in DISK_FORMATS:
        raise InvalidInput(field, f"must be one of {', '.join(DISK_FORMATS)}")
