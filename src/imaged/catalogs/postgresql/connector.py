"""Connects to PostgreSQL, configures each connection, and detects poolers.

A pooler may lend a session of the server for one transaction at a time. Nothing set in a session is
kept then: so limits are set in each transaction, and statements have no names. Otherwise limits are
set once, after connecting: a pooler refuses them as start-up parameters.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import asyncpg  # type: ignore[import-untyped]
import msgspec
from sqlalchemy import URL, AsyncAdaptedQueuePool, text
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from imaged.catalogs.postgresql.errors import (
    CONNECT_ERRORS,
    READ_ONLY_STATE,
    DatabaseUnreachable,
    is_same_on_all_hosts,
)
from imaged.catalogs.postgresql.url import ConnectionParameters
from imaged.core.errors import CatalogError

POOL_SIZE = 10  # of an instance with one process
STATEMENT_CACHE_SIZE = 100  # prepared and kept, by each connection
POOLER_PROBES = 30  # to detect another session, while other clients use the sessions, too

#: Settings, for a session or (true) for a transaction. A commit is durable whatever the default.
_SET_SETTINGS = """
    SELECT set_config(name, setting, $3)
    FROM unnest($1::text[], $2::text[]) AS told (name, setting)
    UNION ALL
    SELECT set_config('synchronous_commit', 'on', $3)
    WHERE current_setting('synchronous_commit') = 'off'
"""
_SET_LOCAL_SETTINGS = text(
    _SET_SETTINGS.replace("$1::text[]", "CAST(:names AS text[])")
    .replace("$2::text[]", "CAST(:told AS text[])")
    .replace("$3", "true")
)

OpenConnections = set[Any]  # asyncpg's connections


class ImagedDialect(PGDialect_asyncpg):
    """PostgreSQL by asyncpg, with connections that are ready when the pool gets them.

    Nothing is awaited between making a connection and giving it to the pool, so a caller that is
    cancelled then cannot leak it. A connection to a server that refuses changes counts as lost, and
    so do all older ones: another server may have taken over.
    """

    supports_statement_cache = True

    async def setup_asyncpg_json_codec(self, conn: Any) -> None:
        """Not needed."""

    async def setup_asyncpg_jsonb_codec(self, conn: Any) -> None:
        """Not needed."""

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:
        """Whether all connections of the pool must be replaced."""
        if getattr(e, "sqlstate", None) == READ_ONLY_STATE and not getattr(
            connection, "readonly", True
        ):
            return True
        is_lost: bool = super().is_disconnect(e, connection, cursor)  # type: ignore[no-untyped-call]
        return is_lost


registry.register("postgresql.imaged", __name__, ImagedDialect.__name__)


class Connector:
    """Makes connections to one database."""

    def __init__(self, address: ConnectionParameters, password_file: Path | None = None) -> None:
        self._address = address
        self._password = None if password_file is None else _reader_of(password_file)
        self.opened: OpenConnections = set()  # connections that are open now
        #: Whether a pooler lends sessions of the server for a transaction each. Until that is
        #: known, nothing is left in a session that others may get.
        self.is_pooled = True

    def make_engine(self, connections: int) -> AsyncEngine:
        """An engine that makes at most so many connections here."""

        def connect() -> Any:
            api: Any = engine.dialect.dbapi
            return api.connect(
                async_creator_fn=self.connect, prepared_statement_cache_size=self._statements
            )

        engine = create_async_engine(
            URL.create("postgresql+imaged"),
            creator=connect,
            poolclass=AsyncAdaptedQueuePool,
            hide_parameters=True,  # errors and logs must not contain what clients wrote
            pool_size=connections,
            max_overflow=0,
            json_serializer=lambda value: msgspec.json.encode(value).decode(),
        )
        return engine

    async def connect(self) -> Any:
        """A ready connection to the first host that accepts one.

        Raises DatabaseUnreachable with the last host's reason; CatalogError.
        """
        last = DatabaseUnreachable("has no host in its URL")
        for url in self._address.urls:
            try:
                return await self._connect_to(url)
            except CONNECT_ERRORS as error:
                last = DatabaseUnreachable.from_error(error)
                if is_same_on_all_hosts(error):
                    break
        raise last

    async def detect_pooler(self) -> None:
        """Detect whether a pooler lends the server's sessions for one transaction at a time.

        Without a pooler, the server reports the number of its session. With one, two connections
        meet in one session, or one of them finds itself in another. A pooler without a second
        session to lend must be lending sessions. Raises DatabaseUnreachable, CatalogError.
        """
        async with self._temporary_connection() as here:
            if here.get_server_pid() == await _session_of(here):
                self.is_pooled = False
                return
            try:
                async with self._temporary_connection() as there:
                    self.is_pooled = await _share_sessions(here, there)
            except DatabaseUnreachable:
                self.is_pooled = False

    async def apply_settings(self, db: AsyncConnection) -> None:
        """Set the limits of a transaction that has just begun, if its session is only lent."""
        if self.is_pooled:
            names, values = _columns(self._address.settings)
            await db.execute(_SET_LOCAL_SETTINGS, {"names": names, "told": values})

    @property
    def _statements(self) -> int:
        """The number of prepared statements that a connection keeps."""
        return 0 if self.is_pooled else STATEMENT_CACHE_SIZE

    @asynccontextmanager
    async def _temporary_connection(self) -> AsyncIterator[Any]:
        connection = await self.connect()
        try:
            yield connection
        finally:
            connection.terminate()

    async def _connect_to(self, url: str) -> Any:
        async with asyncio.timeout(self._address.connect_seconds):
            connection = await asyncpg.connect(
                url,
                password=self._password,
                timeout=self._address.connect_seconds,
                server_settings=dict(self._address.startup),
                statement_cache_size=self._statements,
            )
            self.opened.add(connection)
            connection.add_termination_listener(self.opened.discard)
            try:
                await self._set_up(connection)
            except BaseException:
                connection.terminate()
                raise
        return connection

    async def _set_up(self, connection: Any) -> None:
        """Runs in one transaction: a pooler may give the next one to another session."""
        async with _transaction(connection):
            await connection.fetch(_SET_SETTINGS, *_columns(self._address.settings), self.is_pooled)
            await connection.set_type_codec(
                "json", schema="pg_catalog", encoder=str, decoder=msgspec.json.decode
            )


@asynccontextmanager
async def _transaction(connection: Any) -> AsyncIterator[None]:
    """A transaction of a connection that is closed when it fails, so needs no rollback.

    asyncpg's own context manager attempts a rollback, and on a lost connection raises
    InterfaceError instead of the original error.
    """
    transaction = connection.transaction()
    await transaction.start()
    yield
    await transaction.commit()


async def _share_sessions(here: Any, there: Any) -> bool:
    """Whether transactions of two connections are executed in changing sessions of the server."""
    mine: set[int] = set()
    others: set[int] = set()
    for _ in range(POOLER_PROBES):
        mine.add(await _session_of(here))
        others.add(await _session_of(there))
        if len(mine) > 1 or len(others) > 1 or mine == others:
            return True
    return False


async def _session_of(connection: Any) -> int:
    """The server's session that executes the connection's next transaction."""
    async with _transaction(connection):
        session: int = await connection.fetchval("SELECT pg_backend_pid()")
        return session


def _columns(settings: Mapping[str, str]) -> tuple[list[str], list[str]]:
    return list(settings), list(settings.values())


def _reader_of(password_file: Path) -> Callable[[], Any]:
    """Called for every connection, so a password can change at run time."""

    async def read() -> str:
        try:
            return (await anyio.Path(password_file).read_text("utf-8")).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise CatalogError(f"The file {password_file} cannot be read: {why}.") from error

    return read
