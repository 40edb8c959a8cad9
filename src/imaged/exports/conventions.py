"""What the drivers of exports agree on: the names of unfinished files, and errors.

An unfinished file is named ``.imaged-<task id>.<attempt>``. The drivers reuse parts of stores, so
errors of stores are translated into those of exports. The parts get a label that no store can have,
so their errors can be told from those of the store that is read at the same time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from imaged.core.errors import (
    BlobExists,
    ExportError,
    ExportExists,
    ExportFull,
    StoreError,
    StoreFull,
)
from imaged.ports.export import ExportFile

TEMPORARY_PREFIX = ".imaged-"
TEMPORARY_NAME = re.compile(r"\.imaged-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.[0-9a-f]{32}")


def temporary_name(export_file: ExportFile) -> str:
    """The temporary name of an attempt."""
    return f"{TEMPORARY_PREFIX}{export_file.task_id}.{export_file.attempt.hex}"


def task_id_of(name: str) -> str | None:
    """The task that wrote it; None if imaged did not."""
    found = TEMPORARY_NAME.fullmatch(name)
    return found and found[1]


def store_label(destination: str) -> str:
    """The store name that the parts use in their errors."""
    return f"exports.{destination}"


@contextmanager
def translated_errors(destination: str) -> Iterator[None]:
    """Translate every StoreError of the parts. Raises ExportExists, ExportFull, ExportError."""
    try:
        yield
    except StoreError as error:
        if error.store != store_label(destination):
            raise
        raise _translated(destination, error) from error


def _translated(destination: str, error: StoreError) -> ExportError:
    match error:
        case BlobExists():
            return ExportExists(destination, error.key)
        case StoreFull():
            return ExportFull(destination, error.why)
        case _:
            return ExportError(destination, error.why)
