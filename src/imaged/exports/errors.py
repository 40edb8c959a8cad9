"""From the errors of stores, whose parts the drivers are made of, to those of exports.

Those parts are told another name than any store can have, so that what they raise can be told from
what the store raises that is read at the same time.
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
    """What the parts take for the name of their store."""
    return f"exports.{destination}"


@contextmanager
def translated_errors(destination: str) -> Iterator[None]:
    """Let no StoreError of the parts out. Raises ExportExists, ExportFull, ExportError."""
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
