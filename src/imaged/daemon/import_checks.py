"""Loads a deployer's checks of imported images: entry points ``imaged.import_checks``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from imaged.core.errors import ImagedError
from imaged.ports.import_check import ImportCheck

IMPORT_CHECK_GROUP = "imaged.import_checks"


class ImportCheckRefused(ImagedError):
    """An import check of a deployer cannot be loaded."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"The import check of the entry point {name!r} cannot be used: {why}.")


def load_import_checks() -> Sequence[ImportCheck]:
    """Return all installed checks, sorted by name. Raises ImportCheckRefused."""
    return [
        _load(point)
        for point in sorted(entry_points(group=IMPORT_CHECK_GROUP), key=lambda one: one.name)
    ]


def _load(point: EntryPoint) -> ImportCheck:
    try:
        check: ImportCheck = point.load()()
    except Exception as error:
        raise ImportCheckRefused(point.name, f"{type(error).__name__}: {error}") from error
    return check
