"""Databases of PostgreSQL for daemons that a measure starts beside the one that is measured."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped]


@asynccontextmanager
async def database_like(url: str) -> AsyncIterator[str]:
    """The URL of a new database on the server of another one, whose role may create it.

    Empty for SQLite, and if ``url`` is: the daemon has a new file then.
    """
    if not url.startswith("postgresql"):
        yield ""
        return
    name = f"bench-{uuid4().hex}"
    server = await asyncpg.connect(url)
    try:
        await server.execute(f'CREATE DATABASE "{name}"')
        try:
            yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
        finally:
            await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await server.close()
