"""Whether what a configuration names can be used. Nothing is made that is not there."""

from __future__ import annotations

from pathlib import Path

from imaged.api.identity import TokenFile
from imaged.catalogs.opening import inspect_catalog
from imaged.config import Config, Problem
from imaged.core.errors import CatalogError, ImagedError, StoreError
from imaged.daemon.places import open_store
from imaged.daemon.settings import password_file


async def find_problems(config: Config) -> list[Problem]:
    """All that would keep a daemon from its work."""
    problems: list[Problem] = []
    for name, section in config.stores.by_name.items():
        try:
            async with open_store(name, section):
                pass
        except StoreError as error:
            problems.append(Problem("store", f"stores.{name}", str(error)))
    try:
        await inspect_catalog(config.catalog.url, password_file(config))
    except CatalogError as error:
        problems.append(Problem("catalog", "catalog.url", str(error)))
    if config.auth.method == "token":
        try:
            TokenFile(Path(config.auth.token_file))
        except ImagedError as error:
            problems.append(Problem("tokens", "auth.token_file", str(error)))
    return problems
