"""Catalog and stores for commands, with or without a running daemon."""

from __future__ import annotations

import os
import pwd
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeVar

import anyio
from structlog.contextvars import bound_contextvars

from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.cli.options import configure_command_log
from imaged.config import Config, load
from imaged.daemon.drivers import Drivers, open_catalog, open_drivers

T = TypeVar("T")
Opened = TypeVar("Opened")


def run_with_drivers(
    file: Path | None, work: Callable[[Drivers, Config], Awaitable[T]], *, is_change: bool = False
) -> T:
    """Run the work with open catalog and stores; return its result. ``is_change``: of images."""
    return _run(file, open_drivers, work, is_change=is_change)


def run_with_catalog(
    file: Path | None,
    work: Callable[[SqlCatalog, Config], Awaitable[T]],
    *,
    is_change: bool = False,
) -> T:
    """Run the work with an open catalog; return its result. ``is_change``: of images."""
    return _run(file, open_catalog, work, is_change=is_change)


def _run(
    file: Path | None,
    opener: Callable[[Config], AbstractAsyncContextManager[Opened]],
    work: Callable[[Opened, Config], Awaitable[T]],
    *,
    is_change: bool,
) -> T:
    config = load(file)
    configure_command_log(config.log.level, config.log.format, is_change=is_change)

    async def run() -> T:
        with bound_contextvars(user_id=operator()):
            async with opener(config) as opened:
                return await work(opened, config)

    return anyio.run(run)


def operator() -> str:
    """The user in logs and histories for what a command does."""
    return f"operator:{_system_user()}"


def _system_user() -> str:
    """The user of the system who runs the command, also by sudo."""
    if name := os.environ.get("SUDO_USER"):
        return name
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container, perhaps
        return str(os.getuid())
