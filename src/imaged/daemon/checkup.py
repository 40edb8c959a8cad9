"""Whether what a configuration names can be used. Nothing is made that is not there."""

from __future__ import annotations

import os
from pathlib import Path

from imaged.api.identity import TokenFile
from imaged.catalogs.migrations import is_current
from imaged.catalogs.sqlite import SqliteDatabase, path_of
from imaged.config import Config, Problem
from imaged.core.errors import CatalogError, ImagedError, StoreError
from imaged.daemon.assembly import build_stores


async def find_problems(config: Config) -> list[Problem]:
    """All that would keep a daemon from its work."""
    problems: list[Problem] = []
    for name, store in build_stores(config).by_name.items():
        try:
            await store.check()
        except StoreError as error:
            problems.append(Problem("store", f"stores.{name}", str(error)))
    try:
        await _look_at_catalog(path_of(config.catalog.url))
    except CatalogError as error:
        problems.append(Problem("catalog", "catalog.url", str(error)))
    if config.auth.method == "token":
        try:
            TokenFile(Path(config.auth.token_file))
        except ImagedError as error:
            problems.append(Problem("tokens", "auth.token_file", str(error)))
    return problems


async def _look_at_catalog(path: Path) -> None:
    """A catalog that is missing is made at start; an old one is migrated."""
    if _is_missing(path):
        return
    database = SqliteDatabase(path)
    try:
        await database.read(is_current)
    finally:
        await database.close()


def _is_missing(path: Path) -> bool:
    """Whether there is no catalog yet. Raises CatalogError where none can be made."""
    if path.exists():
        return False
    if not os.access(path.parent, os.W_OK | os.X_OK):
        why = "its folder is missing, or may not be written to"
        raise CatalogError(f"The catalog {path} cannot be made: {why}.")
    return True
