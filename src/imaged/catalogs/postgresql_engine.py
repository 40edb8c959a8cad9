"""How PostgreSQL is driven: its connections, what each of them is told first, and its name.

The URL is read by the driver itself, so everything that libpq's URLs may say works: ``sslmode``,
``sslrootcert``, several hosts, ``target_session_attrs``; and so do PGPASSWORD and a .pgpass file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import anyio
import asyncpg  # type: ignore[import-untyped]
import msgspec
from sqlalchemy import URL, AsyncAdaptedQueuePool
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from imaged.core.errors import CatalogError

CONNECTIONS = 10
CONNECT_SECONDS = 5

#: Told to the server with every connection. Whoever waits, waits for less long than whoever is
#: waited for may stand still: a frozen instance is thrown out before others give up.
SESSION = {
    "application_name": "imaged",
    "jit": "off",  # statements are small
    "idle_in_transaction_session_timeout": "8s",
    "lock_timeout": "12s",
    "statement_timeout": "15s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}

_DURABLE = """
    SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off'
"""

Opened = set[Any]  # asyncpg's connections


class Dialect(PGDialect_asyncpg):
    """PostgreSQL by asyncpg, where connections come ready from whoever makes them.

    So nothing is awaited between making one and giving it to the pool, and a caller that is
    cancelled then cannot lose it.
    """

    supports_statement_cache = True

    async def setup_asyncpg_json_codec(self, conn: Any) -> None:
        """Nothing is left to do."""

    async def setup_asyncpg_jsonb_codec(self, conn: Any) -> None:
        """Nothing is left to do."""


registry.register("postgresql.imaged", __name__, Dialect.__name__)


def make_engine(url: str, password_file: Path | None, opened: Opened) -> AsyncEngine:
    """An engine for the database of a URL. ``opened`` always has its open connections."""

    async def connect() -> Any:
        return await _connect(url, password_file, opened)

    return create_async_engine(
        URL.create("postgresql+imaged"),
        async_creator=connect,
        poolclass=AsyncAdaptedQueuePool,
        hide_parameters=True,  # what clients wrote belongs into no error, and no log
        pool_size=CONNECTIONS,
        max_overflow=0,
        json_serializer=lambda value: msgspec.json.encode(value).decode(),
    )


def name_of(url: str) -> str:
    """How an error calls a catalog: its database and its host, and nothing secret."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    host = parts.netloc.rpartition("@")[2] or "".join(query.get("host", [])[-1:])
    database = unquote(parts.path.lstrip("/"))
    return f"{database} on {host or 'this machine'}"


async def _connect(url: str, password_file: Path | None, opened: Opened) -> Any:
    async with asyncio.timeout(CONNECT_SECONDS):
        connection = await asyncpg.connect(
            url,
            password=None if password_file is None else _reader_of(password_file),
            timeout=CONNECT_SECONDS,
            server_settings=SESSION,
        )
        opened.add(connection)
        connection.add_termination_listener(opened.discard)
        try:
            await connection.set_type_codec(
                "json", schema="pg_catalog", encoder=str, decoder=msgspec.json.decode
            )
            await connection.execute(_DURABLE)
        except BaseException:
            connection.terminate()
            raise
    return connection


def _reader_of(password_file: Path) -> Callable[[], Any]:
    """Read for every connection: so a password can change while we run."""

    async def read() -> str:
        try:
            return (await anyio.Path(password_file).read_text("utf-8")).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise CatalogError(f"The file {password_file} cannot be read: {why}.") from error

    return read
