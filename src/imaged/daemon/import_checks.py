"""The checks that a deployer asks of every image that tasks bring in: ``imaged.import_checks``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from imaged.core.errors import ImagedError
from imaged.ports.import_check import ImportCheck

IMPORT_CHECK_GROUP = "imaged.import_checks"


class ImportCheckRefused(ImagedError):
    """A check that a deployer added cannot be used. Says which, and why."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"The import check of the entry point {name!r} cannot be used: {why}.")


def load_import_checks() -> Sequence[ImportCheck]:
    """All that are installed, in the order of their names. Raises ImportCheckRefused."""
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
