"""Translates the errors of stores, whose parts the drivers reuse, into those of exports.

The parts get a label that no store can have, so their errors can be told from those of the store
that is read at the same time.
"""

from __future__ import annotations

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
