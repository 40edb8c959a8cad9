"""How PostgreSQL is driven: its connections, what each of them is told, and who is between.

A pooler may lend a session of the server to us for one transaction at a time. Then nothing that is
told to a session stays there: so limits are told to each transaction, and statements have no names.
Behind everything else, they are told once, after connecting: a pooler refuses to be told at start.
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

from imaged.catalogs.postgresql_errors import CONNECTING, READ_ONLY, NotConnected, is_final
from imaged.catalogs.postgresql_url import Address
from imaged.core.errors import CatalogError

CONNECTIONS = 10
STATEMENTS = 100  # prepared and kept, by each connection
LOOKS = 3  # at which session of the server is ours

#: Settings, for a session or (true) for a transaction. A commit is durable whatever the default.
_TELL = """
    SELECT set_config(name, setting, $3)
    FROM unnest($1::text[], $2::text[]) AS told (name, setting)
    UNION ALL
    SELECT set_config('synchronous_commit', 'on', $3)
    WHERE current_setting('synchronous_commit') = 'off'
"""
_LIMIT = text(
    _TELL.replace("$1::text[]", "CAST(:names AS text[])")
    .replace("$2::text[]", "CAST(:told AS text[])")
    .replace("$3", "true")
)

Opened = set[Any]  # asyncpg's connections


class Dialect(PGDialect_asyncpg):
    """PostgreSQL by asyncpg, where connections come ready from whoever makes them.

    So nothing is awaited between making one and giving it to the pool, and a caller that is
    cancelled then cannot lose it. A connection to a server that refuses changes is as good as
    lost, and with it all that were made before: another server may have taken over.
    """

    supports_statement_cache = True

    async def setup_asyncpg_json_codec(self, conn: Any) -> None:
        """Nothing is left to do."""

    async def setup_asyncpg_jsonb_codec(self, conn: Any) -> None:
        """Nothing is left to do."""

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:
        """Whether the pool has to be made anew."""
        if getattr(e, "sqlstate", None) == READ_ONLY and not getattr(connection, "readonly", True):
            return True
        is_lost: bool = super().is_disconnect(e, connection, cursor)  # type: ignore[no-untyped-call]
        return is_lost


registry.register("postgresql.imaged", __name__, Dialect.__name__)


class Connector:
    """Makes connections to one database."""

    def __init__(self, address: Address, password_file: Path | None = None) -> None:
        self._address = address
        self._password = None if password_file is None else _reader_of(password_file)
        self.opened: Opened = set()  # connections that are open now
        #: Whether a pooler lends sessions of the server for a transaction each. Until that is
        #: known, nothing is left in a session that could be somebody else's.
        self.is_lent = True

    def make_engine(self) -> AsyncEngine:
        """An engine whose connections are made here."""

        def connect() -> Any:
            api: Any = engine.dialect.dbapi
            return api.connect(
                async_creator_fn=self.connect, prepared_statement_cache_size=self._statements
            )

        engine = create_async_engine(
            URL.create("postgresql+imaged"),
            creator=connect,
            poolclass=AsyncAdaptedQueuePool,
            hide_parameters=True,  # what clients wrote belongs into no error, and no log
            pool_size=CONNECTIONS,
            max_overflow=0,
            json_serializer=lambda value: msgspec.json.encode(value).decode(),
        )
        return engine

    async def connect(self) -> Any:
        """A connection to the first host that will have us, ready to be used.

        Raises NotConnected, which says why the last host would not; CatalogError.
        """
        last = NotConnected("has no host in its URL")
        for url in self._address.urls:
            try:
                return await self._connect_to(url)
            except CONNECTING as error:
                last = NotConnected.because_of(error)
                if is_final(error):
                    break
        raise last

    async def find_pooler(self) -> None:
        """See whether a pooler lends us the server's sessions for one transaction at a time.

        Without a pooler, the server tells a connection the number of its session. With one, two
        connections of ours meet in one session, or one of them finds itself in another. A pooler
        that has no second session for us lends sessions. Raises NotConnected, CatalogError.
        """
        async with self._one() as here:
            if here.get_server_pid() == await _session_of(here):
                self.is_lent = False
                return
            try:
                async with self._one() as there:
                    seen = [
                        (await _session_of(here), await _session_of(there)) for _ in range(LOOKS)
                    ]
            except NotConnected:
                self.is_lent = False
                return
        mine, others = ({pair[side] for pair in seen} for side in (0, 1))
        self.is_lent = len(mine) > 1 or len(others) > 1 or mine == others

    async def limit(self, db: AsyncConnection) -> None:
        """Set the limits of a transaction that has just begun, where its session is only lent."""
        if self.is_lent:
            names, values = _columns(self._address.settings)
            await db.execute(_LIMIT, {"names": names, "told": values})

    @property
    def _statements(self) -> int:
        """How many prepared statements a connection keeps."""
        return 0 if self.is_lent else STATEMENTS

    @asynccontextmanager
    async def _one(self) -> AsyncIterator[Any]:
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
        """In one transaction: a pooler may give the next one to another session."""
        async with connection.transaction():
            await connection.fetch(_TELL, *_columns(self._address.settings), self.is_lent)
            await connection.set_type_codec(
                "json", schema="pg_catalog", encoder=str, decoder=msgspec.json.decode
            )


async def _session_of(connection: Any) -> int:
    """The server's session that has the connection's next transaction."""
    async with connection.transaction():
        session: int = await connection.fetchval("SELECT pg_backend_pid()")
        return session


def _columns(settings: Mapping[str, str]) -> tuple[list[str], list[str]]:
    return list(settings), list(settings.values())


def _reader_of(password_file: Path) -> Callable[[], Any]:
    """Read for every connection: so a password can change while we run."""

    async def read() -> str:
        try:
            return (await anyio.Path(password_file).read_text("utf-8")).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise CatalogError(f"The file {password_file} cannot be read: {why}.") from error

    return read
