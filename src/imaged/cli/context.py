"""Catalog and stores for commands, with or without a running daemon."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio

from imaged.config import Config, load
from imaged.daemon.drivers import Drivers, open_catalog, open_drivers
from imaged.ports.catalog import Catalog
from imaged.telemetry import configure_log

T = TypeVar("T")


def run_with_parts(file: Path | None, work: Callable[[Drivers, Config], Awaitable[T]]) -> T:
    """Run the work with open catalog and stores; return its result."""
    config = _load(file)

    async def run() -> T:
        async with open_drivers(config) as parts:
            return await work(parts, config)

    return anyio.run(run)


def run_with_catalog(file: Path | None, work: Callable[[Catalog, Config], Awaitable[T]]) -> T:
    """Run the work with an open catalog; return its result."""
    config = _load(file)

    async def run() -> T:
        async with open_catalog(config) as catalog:
            return await work(catalog, config)

    return anyio.run(run)


def _load(file: Path | None) -> Config:
    config = load(file)
    configure_log(config.log.level, config.log.format)
    return config
