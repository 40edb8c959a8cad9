"""Opening a PostgreSQL catalog, and the errors when that fails."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import anyio
import asyncpg  # type: ignore[import-untyped]
import pytest
import pytest_asyncio

from contracts.catalog_databases import TERMINATE, opened
from contracts.catalog_samples import all_images, queued
from imaged.catalogs.connect import inspect_catalog, migrate_catalog, open_catalog, without_password
from imaged.catalogs.postgresql import connector, requirements
from imaged.catalogs.postgresql.driver import PostgresqlDatabase, open_postgresql
from imaged.catalogs.postgresql.errors import translated_errors
from imaged.catalogs.postgresql.url import display_name_of
from imaged.core.errors import CatalogError, CatalogTooOld, CatalogUnavailable
from support.ports import reserve_port
from support.postgresql import (
    Server,
    connected,
    empty_database,
    execute,
    fresh_database,
)
from support.waiting import until

pytestmark = pytest.mark.asyncio

PASSWORD = "correct horse"
WRONG = "battery-staple"


@pytest_asyncio.fixture
async def url(server: Server) -> AsyncIterator[str]:
    """A database with empty tables."""
    async with fresh_database(server.url) as url:
        yield url


@pytest_asyncio.fixture
async def role(url: str) -> AsyncIterator[str]:
    """A role with the rights that a catalog needs, and a password."""
    name = urlsplit(url).path.strip("/").replace("imaged", "role")
    async with connected(url) as db:
        await db.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
        await db.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
    yield name
    async with connected(url) as db:
        await db.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def at(url: str, *, user: str = "", host: str = "", port: int = 0, path: str = "") -> str:
    """The same URL with other parts."""
    parts = urlsplit(url)
    user = user or parts.netloc.rpartition("@")[0]
    netloc = f"{user}@{host or parts.hostname}:{port or parts.port}"
    return urlunsplit(parts._replace(netloc=netloc, path=path or parts.path))


async def test_a_catalog_by_its_url(url: str) -> None:
    """PostgreSQL by its scheme, of which there are two; anything else is a SQLite file."""
    for also in (url, url.replace("postgresql:", "postgres:")):
        catalog = await open_catalog(also)
        await catalog.check()
        await catalog.close()
        await inspect_catalog(also)


async def test_a_password_in_a_file(url: str, role: str, tmp_path: Path) -> None:
    """It is read for every connection, so it can change at run time."""
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    catalog = await open_postgresql(at(url, user=role), file)
    await catalog.add_image(queued("i"))

    await execute(url, f"ALTER ROLE {role} PASSWORD 'another one'")
    file.write_text("another one")
    await execute(url, TERMINATE)

    assert [image.id for image in await all_images(catalog)] == ["i"]
    await catalog.close()


async def test_a_password_elsewhere(url: str, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the URL, with characters that must be quoted there; or where PostgreSQL's tools look."""
    quoted = PASSWORD.replace(" ", "%20")
    await inspect_catalog(at(url, user=f"{role}:{quoted}"))
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    await inspect_catalog(at(url, user=role))


async def test_a_wrong_password_is_not_shown(url: str, role: str, tmp_path: Path) -> None:
    """Wherever it comes from; nor is that of a missing role."""
    file = tmp_path / "password"
    file.write_text(WRONG)
    for user, password_file in (
        (f"{role}:{WRONG}", None),
        (role, file),
        (f"unknown:{WRONG}", None),
    ):
        with pytest.raises(CatalogError, match="refused the role, or its password") as error:
            await open_postgresql(at(url, user=user), password_file)
        assert WRONG not in str(error.value)


async def test_a_password_file_that_cannot_be_read(url: str, role: str, tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(CatalogError, match="none cannot be read: No such file"):
        await open_postgresql(at(url, user=role), tmp_path / "none")
    (tmp_path / "odd").write_bytes(b"\xff")
    with pytest.raises(CatalogError, match="odd cannot be read: it is not UTF-8 text"):
        await open_postgresql(at(url, user=role), tmp_path / "odd")


@pytest.mark.parametrize(
    ("other", "query", "why"),
    [
        ({"path": "/none"}, "", "does not exist: create the database first"),
        ({"host": "nowhere.invalid"}, "", "its host name cannot be resolved"),
        ({}, "?sslmode=require", "its server does not offer TLS"),
        ({}, "?sslmode=sometimes", "its URL, or one of PostgreSQL's variables, is wrong"),
        ({}, "?sslmode=verify-full&sslrootcert=/none.pem", "no such socket or certificate"),
        ({}, "?target_session_attrs=standby", "no server matches target_session_attrs"),
        ({}, "?default_transaction_read_only=on", "is read-only"),
        ({}, "?no_such_thing=on", "does not know a setting"),
    ],
)
async def test_what_cannot_be_opened(url: str, other: dict[str, str], query: str, why: str) -> None:
    """One sentence each: the database, the host, and what to check."""
    wrong = at(url, host=other.get("host", ""), path=other.get("path", "")) + query

    with pytest.raises(CatalogError, match=re.escape(why)) as error:
        await inspect_catalog(wrong)

    assert "127.0.0.1" in str(error.value) or "nowhere.invalid" in str(error.value)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (asyncpg.ProtocolViolationError, "by its server, or by a pooler before it"),
        (asyncpg.DuplicatePreparedStatementError, "statements of another connection"),
        (asyncpg.InvalidSQLStatementNameError, "lost its prepared statements"),
    ],
)
async def test_mistakes_of_a_pooler(kind: type[Exception], why: str) -> None:
    """Each has a sentence of its own."""
    with pytest.raises(CatalogError, match=why), translated_errors("imaged on db"):
        raise kind("as the pooler says")


async def test_where_nothing_answers(url: str) -> None:
    """The error comes at once."""
    with pytest.raises(CatalogError, match="no server answers at this address"):
        await open_postgresql(at(url, port=reserve_port()))
    with pytest.raises(CatalogError, match="no such socket"):
        await open_postgresql("postgresql:///imaged?host=/nowhere")


async def test_a_session_that_ends_while_it_is_set_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says so, although the driver's own transaction would hide it."""
    ends = """
        SELECT pg_terminate_backend(pg_backend_pid())
        FROM unnest($1::text[], $2::text[]) WHERE $3::bool IS NOT NULL
    """
    monkeypatch.setattr(connector, "_SET_SETTINGS", ends)

    with pytest.raises(CatalogError, match=r"was lost: .* due to administrator command"):
        await open_postgresql(url)


async def test_a_session_that_ended_before_it_is_set_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two statements: the driver knows that its connection is closed, and no reason."""
    set_up = connector.Connector._set_up

    async def set_up_too_late(self: connector.Connector, connection: Any) -> None:
        async def is_closed() -> bool:
            closed: bool = connection.is_closed()
            return closed

        await execute(url, f"SELECT pg_terminate_backend({connection.get_server_pid()})")
        await until(is_closed)
        await set_up(self, connection)

    monkeypatch.setattr(connector.Connector, "_set_up", set_up_too_late)

    with pytest.raises(CatalogUnavailable, match="was lost"):
        await open_postgresql(url)


async def test_a_session_that_hangs_while_it_is_set_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``connect_timeout`` includes that: otherwise the next host would never be asked."""
    hangs = "SELECT pg_sleep(600), $1::text[], $2::text[], $3::bool"
    monkeypatch.setattr(connector, "_SET_SETTINGS", hangs)

    with anyio.fail_after(30), pytest.raises(CatalogError, match="no connection was made in time"):
        await open_postgresql(f"{url}?connect_timeout=1")


async def test_what_the_role_may_not_do(url: str, role: str) -> None:
    """Its tables belong to another role, or it has no connection left."""
    mine = at(url, user=f"{role}:{PASSWORD.replace(' ', '%20')}")
    await execute(url, f"REVOKE ALL ON images FROM {role}")
    catalog = await open_postgresql(mine)
    with pytest.raises(CatalogError, match="denies this to the role"):
        await all_images(catalog)
    await catalog.close()

    await execute(url, f"ALTER ROLE {role} CONNECTION LIMIT 0")
    with pytest.raises(CatalogError, match="has no connection left"):
        await open_postgresql(mine)


async def test_an_empty_database() -> None:
    """It is not migrated automatically, and the error names the command."""
    async with empty_database() as url:
        for _ in range(2):
            with pytest.raises(CatalogTooOld, match="imaged migrate"):
                await open_catalog(url)
        assert (await migrate_catalog(url)).before is None
        async with opened(url) as catalog:
            await catalog.check()


async def test_a_database_of_something_else() -> None:
    """It is left unchanged."""
    async with empty_database() as url:
        await execute(url, "CREATE TABLE recipes (name TEXT)")
        for attempt in (open_catalog, migrate_catalog):
            with pytest.raises(CatalogError, match="something else"):
                await attempt(url)
        async with connected(url) as db:
            query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            assert [row[0] for row in await db.fetch(query)] == ["recipes"]


async def test_a_server_that_is_too_old(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has its version, and the oldest one that works."""
    monkeypatch.setattr(requirements, "MIN_SERVER_VERSION", 99)
    for attempt in (open_catalog, migrate_catalog):
        with pytest.raises(CatalogError, match=r"PostgreSQL \d+ is too old .* 99 or newer"):
            await attempt(url)


async def test_a_database_of_another_encoding() -> None:
    """It could not store names in all scripts."""
    how = "template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
    async with empty_database(template=how) as url:
        with pytest.raises(CatalogError, match="has the encoding SQL_ASCII"):
            await migrate_catalog(url)


async def test_how_a_catalog_is_called() -> None:
    """In logs and errors: where it is, and no secret."""
    secret = "postgresql://imaged:hush@db.example.net:5433/facts?sslpassword=hush"
    assert without_password(secret) == "postgresql://imaged@db.example.net:5433/facts"
    assert display_name_of(secret) == "facts on db.example.net:5433"
    assert display_name_of("postgresql:///facts?host=/run/postgresql") == "facts on /run/postgresql"
    assert display_name_of("postgresql:///facts") == "facts on this machine"
    assert without_password("postgresql:///facts") == "postgresql:///facts"
    assert without_password("sqlite:////var/lib/catalog.db") == "sqlite:////var/lib/catalog.db"


async def test_a_server_without_a_pooler_tells_so_by_itself(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One connection is enough: a start makes no second one just to compare their sessions."""
    database, asked = PostgresqlDatabase(url), 0
    connect = database.connector.connect

    async def counted() -> Any:
        nonlocal asked
        asked += 1
        return await connect()

    monkeypatch.setattr(database.connector, "connect", counted)
    await database.connector.detect_pooler()
    await database.close()

    assert (database.connector.is_pooled, asked) == (False, 1)
