"""The modules that each process of a service would load after its fork, so they are loaded before.

Loaded once, they cost the time of one start, and their memory is shared. Beyond what every service
loads, the configuration decides which ones are needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module

from imaged.catalogs.connect import is_postgresql
from imaged.config import Config
from imaged.config.stores import S3BaseSection


def modules_of_all(config: Config) -> Iterator[str]:
    """What the main process and those that answer need: event loop, catalog, buckets."""
    yield "uvloop"
    yield "anyio._backends._asyncio"  # else loaded by running a loop, which must not be at a fork
    if is_postgresql(config.catalog.url):
        yield "imaged.catalogs.postgresql.driver"
    else:
        yield "imaged.catalogs.sqlite.catalog_file"
    places = [*config.stores.by_name.values(), *config.exports.by_name.values()]
    if any(isinstance(place, S3BaseSection) for place in places):
        yield "imaged.stores.s3.store"


def modules_of_answers(config: Config) -> Iterator[str]:
    """What only the processes that answer need: to look into uploads, to ask Keystone."""
    yield "uvicorn.lifespan.off"
    yield "imaged.inspectors.oslo_inspector"
    if config.auth.method == "keystone":
        yield "imaged.keystone.session"
        yield "imaged.keystone.tokens"


def load(modules: Iterable[str]) -> None:
    """Import them; nothing is opened."""
    for name in modules:
        import_module(name)
