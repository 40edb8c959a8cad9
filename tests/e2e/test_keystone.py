"""A daemon and its Keystone: an outage, and another secret by a reload."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from support.daemon import Daemon
from support.keystone import Keystone, running_keystone
from support.waiting import until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]


@pytest_asyncio.fixture
async def own_keystone() -> AsyncIterator[Keystone]:
    """One that a test may end."""
    with running_keystone() as keystone:
        yield keystone


@pytest_asyncio.fixture
async def daemon(own_keystone: Keystone, tmp_path: Path) -> AsyncIterator[Daemon]:
    """A daemon that asks it."""
    settings = {"metrics": {"bind": []}, **own_keystone.imaged_settings(tmp_path)}
    daemon = Daemon(tmp_path, settings)
    await daemon.start()
    yield daemon
    await daemon.end()


async def ask(
    daemon: Daemon, token: str, path: str = "/v2/images"
) -> tuple[int, Mapping[str, str], str]:
    """A request with a token: the status, the headers and the text."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{daemon.url}{path}", headers={"X-Auth-Token": token}) as answer,
    ):
        return answer.status, answer.headers, await answer.text()


async def test_an_outage(daemon: Daemon, own_keystone: Keystone) -> None:
    """Those whose tokens are known go on, others are told when to come again; the instance stays
    ready, and the log, the status and /readyz say what is wrong, once.
    """
    user = own_keystone.create_person("member")
    known, new = own_keystone.token(user), own_keystone.token(user)
    assert (await ask(daemon, known))[0] == 200
    status, headers, _ = await ask(daemon, "made-up")
    assert (status, headers["WWW-Authenticate"]) == (401, f'Keystone uri="{own_keystone.url}"')

    own_keystone.kill()

    assert (await ask(daemon, known))[0] == 200
    for _ in range(3):
        status, headers, text = await ask(daemon, new)
        assert (status, headers["Retry-After"]) == (503, "5")
        assert "127.0.0.1" not in text
    status, _, text = await ask(daemon, "", "/readyz")
    assert (status, text) == (200, "OK, without keystone")
    (event,) = daemon.told("keystone.degraded")
    assert "cannot be connected to" in event["error"]
    assert not daemon.told("request.failed")

    async def is_reported() -> bool:
        _, output, _ = await daemon.command("status")
        return "is without keystone" in output

    await until(is_reported, "imaged status does not say it")

    await to_thread(own_keystone.start)
    assert (await ask(daemon, new))[0] == 200


async def test_another_secret(daemon: Daemon, own_keystone: Keystone, tmp_path: Path) -> None:
    """A reload reads the file again; one that cannot be read changes nothing."""
    user, password = own_keystone.create_person("member"), "made-up-another-password"
    file = tmp_path / "keystone.password"
    assert (await ask(daemon, own_keystone.token(user)))[0] == 200
    own_keystone.change_user(own_keystone.service_user, password=password)
    assert (await ask(daemon, own_keystone.token(user)))[0] == 503

    kept = await to_thread(file.rename, tmp_path / "kept")
    daemon.reload()
    await daemon.until_told("config.rejected")
    await to_thread(kept.rename, file)
    file.write_text(password)
    daemon.reload()
    await daemon.until_told("config.reloaded")

    assert (await ask(daemon, own_keystone.token(user)))[0] == 200
