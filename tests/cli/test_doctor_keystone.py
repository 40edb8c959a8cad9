"""What doctor and check-config say of Keystone: the account, its role, the clocks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from imaged.cli.doctor import Finding, Level
from imaged.cli.doctor.keystone import check_keystone, clock_finding
from imaged.config import Config
from imaged.daemon.preflight import find_file_problems, find_problems
from support.scripted_keystone import Reply, ScriptedKeystone, error, page, token_document
from support.settings import config_of

pytestmark = pytest.mark.asyncio

NOWHERE = "http://127.0.0.1:1"


def login(roles: Sequence[str], issued_at: datetime) -> Reply:
    """A login that gives a token with these roles, made at this time."""
    document = token_document(
        roles=[{"name": role} for role in roles], issued_at=issued_at.isoformat()
    )

    async def reply(_: web.Request) -> web.StreamResponse:
        return web.json_response(document, status=201, headers={"X-Subject-Token": "made-up"})

    return reply


@pytest_asyncio.fixture
async def keystone() -> AsyncIterator[ScriptedKeystone]:
    """One that signs imaged in with the role service."""
    reply = login(["service"], datetime.now(UTC))
    async with ScriptedKeystone(login=reply).running() as keystone:
        yield keystone


def config_with(folder: Path, *urls: str, text: str | None = "made-up") -> Config:
    """The configuration of an operator. ``text``: of the secret's file; None: it is missing."""
    file = folder / "keystone.password"
    if text is not None:
        file.write_text(text)
    (folder / "images").mkdir(exist_ok=True)
    return config_of(
        folder,
        f"""
        [catalog]
        url = "sqlite:///{folder}/catalog.db"
        [stores.local]
        type = "filesystem"
        path = "{folder}/images"
        min_free = "0"
        [auth]
        method = "keystone"
        [auth.keystone]
        url = {list(urls)}
        username = "imaged"
        password_file = "{file}"
        project = "service"
        """,
    )


async def found(config: Config) -> list[Finding]:
    """What doctor says."""
    return [finding async for finding in check_keystone(config)]


async def test_all_is_well(keystone: ScriptedKeystone, tmp_path: Path) -> None:
    """Three findings for each endpoint, and nothing to correct."""
    config = config_with(tmp_path, keystone.url, keystone.url)

    assert [one.level for one in await found(config)] == [Level.OK] * 6
    assert [one for one in await find_problems(config) if one.origin == "keystone"] == []
    assert not keystone.validations


async def test_each_endpoint_is_tried(keystone: ScriptedKeystone, tmp_path: Path) -> None:
    """One that works does not hide another."""
    findings = await found(config_with(tmp_path, NOWHERE, keystone.url))

    assert [one.level for one in findings] == [Level.PROBLEM, Level.OK, Level.OK, Level.OK]
    assert NOWHERE in findings[0].subject
    assert "cannot be connected to" in findings[0].what


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (error(401), "does not let imaged sign in"),
        (page(404), "check auth.keystone.url"),
        (page(503), "answered 503"),
    ],
)
async def test_imaged_cannot_sign_in(reply: Reply, words: str, tmp_path: Path) -> None:
    """Both commands say why."""
    async with ScriptedKeystone(login=reply).running() as keystone:
        config = config_with(tmp_path, keystone.url)
        (finding,) = await found(config)
        (problem,) = [one for one in await find_problems(config) if one.origin == "keystone"]

    assert (finding.level, problem.key) == (Level.PROBLEM, "auth.keystone")
    assert words in finding.what
    assert words in problem.what


@pytest.mark.parametrize(
    ("roles", "level"),
    [
        (["service"], Level.OK),
        (["admin", "member"], Level.OK),
        (["member", "reader"], Level.PROBLEM),
        ([], Level.PROBLEM),
    ],
)
async def test_the_role(roles: Sequence[str], level: Level, tmp_path: Path) -> None:
    """It is looked for by its name: no question to Keystone would prove it."""
    async with ScriptedKeystone(login=login(roles, datetime.now(UTC))).running() as keystone:
        _, finding, _ = await found(config_with(tmp_path, keystone.url))

    assert finding.level is level
    assert all(role in finding.what for role in roles) or level is Level.OK


@pytest.mark.parametrize(
    ("seconds", "level", "word"),
    [
        (0.9, Level.OK, "agrees"),
        (-9, Level.OK, "agrees"),
        (11, Level.WARNING, "11 s ahead of"),
        (-3600, Level.WARNING, "3600 s behind"),
    ],
)
async def test_the_clocks(seconds: float, level: Level, word: str) -> None:
    """Up to ten seconds are a matter of networks."""
    now = datetime.now(UTC)

    finding = clock_finding("keystone", now, now + timedelta(seconds=seconds))

    assert finding.level is level
    assert word in finding.what


async def test_limits_that_cannot_be_read(keystone: ScriptedKeystone, tmp_path: Path) -> None:
    """It is said which limits hold until then, and what to do; a daemon works all the same."""
    config = config_with(tmp_path, keystone.url)
    config = replace(config, quotas=config.quotas.model_copy(update={"source": "keystone"}))
    *_, finding = await found(config)

    assert finding.level is Level.WARNING
    assert "has no service of the type 'image' in its catalog" in finding.what
    assert "those of [quotas] until then" in finding.what
    assert "Register a service" in finding.remedy


@pytest.mark.parametrize("text", [None, "", "\n"])
async def test_a_secret_that_cannot_be_read(text: str | None, tmp_path: Path) -> None:
    """The file is named, also before a reload; other roles do not need it."""
    config = config_with(tmp_path, NOWHERE, text=text)
    (finding,) = await found(config)
    (problem,) = find_file_problems(config)
    only_tasks = replace(config, daemon=config.daemon.model_copy(update={"roles": ("tasks",)}))

    assert finding.level is Level.PROBLEM
    assert str(tmp_path / "keystone.password") in finding.what
    assert str(tmp_path / "keystone.password") in problem.what
    assert list(find_file_problems(only_tasks)) == []
    assert [one.origin for one in await find_problems(config)].count("keystone") == 1


async def test_another_method(tmp_path: Path) -> None:
    """Nothing is asked."""
    assert await found(config_of(tmp_path, "")) == []
