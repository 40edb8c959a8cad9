"""A daemon and its Keystone: an outage, another secret by a reload, and a token that ends."""

from __future__ import annotations

import asyncio
import json
from asyncio import to_thread
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from support.daemon import PROCESSES, Daemon
from support.keystone import Keystone, running_keystone
from support.waiting import until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]


@asynccontextmanager
async def asking(keystone: Keystone, folder: Path) -> AsyncIterator[Daemon]:
    """A daemon that asks it, by an account of its own."""
    account = keystone.create_user()
    keystone.grant("service", account, project=keystone.service_user.project)
    auth = {"username": account.name}
    settings = {**keystone.imaged_settings(folder)}
    settings["auth.keystone"] = {**settings["auth.keystone"], **auth}
    (folder / "keystone.password").write_text(account.password)
    daemon = Daemon(folder, settings)
    await daemon.start()
    try:
        yield daemon
    finally:
        await daemon.end()


@pytest_asyncio.fixture
async def daemon(keystone: Keystone, tmp_path: Path) -> AsyncIterator[Daemon]:
    """A daemon that asks the Keystone of all tests."""
    async with asking(keystone, tmp_path) as daemon:
        yield daemon


@pytest.fixture
def own_keystone() -> Iterator[Keystone]:
    """One that a test may end."""
    with running_keystone() as keystone:
        yield keystone


@pytest_asyncio.fixture
async def own_daemon(own_keystone: Keystone, tmp_path: Path) -> AsyncIterator[Daemon]:
    """A daemon that asks that one."""
    async with asking(own_keystone, tmp_path) as daemon:
        yield daemon


async def ask(
    daemon: Daemon, token: str, path: str = "/v2/images"
) -> tuple[int, Mapping[str, str], str]:
    """A request with a token: the status, the headers and the text."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{daemon.url}{path}", headers={"X-Auth-Token": token}) as answer,
    ):
        return answer.status, answer.headers, await answer.text()


async def test_an_outage(own_daemon: Daemon, own_keystone: Keystone) -> None:
    """Those whose tokens are known go on, others are told when to come again; the instance stays
    ready, and the log, the status and /readyz say what is wrong, once.
    """
    user = own_keystone.create_person("member")
    known, new = own_keystone.token(user), own_keystone.token(user)
    for _ in range(10 * PROCESSES):  # each process that answers gets to know it by itself
        assert (await ask(own_daemon, known))[0] == 200
    status, headers, _ = await ask(own_daemon, "made-up")
    assert (status, headers["WWW-Authenticate"]) == (401, f'Keystone uri="{own_keystone.url}"')

    own_keystone.kill()

    assert (await ask(own_daemon, known))[0] == 200
    async with aiohttp.ClientSession(own_daemon.url, headers={"X-Auth-Token": new}) as session:
        for _ in range(3):  # on one connection: of several processes, one gets to know it
            async with session.get("/v2/images") as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
                assert "127.0.0.1" not in await answer.text()

    async def is_told() -> bool:  # by each process that answers: one tells the others
        answers = [await ask(own_daemon, "", "/readyz") for _ in range(4 * PROCESSES)]
        return {(status, text) for status, _, text in answers} == {(200, "OK, without keystone")}

    await until(is_told, "/readyz does not say it")
    events = own_daemon.told("keystone.degraded")
    assert len(events) <= PROCESSES
    assert "cannot be connected to" in events[0]["error"]
    assert not own_daemon.told("request.failed")

    async def is_reported() -> bool:
        _, output, _ = await own_daemon.command("status")
        return "is without keystone" in output

    await until(is_reported, "imaged status does not say it")

    await to_thread(own_keystone.start)
    assert (await ask(own_daemon, new))[0] == 200


async def test_another_secret(daemon: Daemon, keystone: Keystone, tmp_path: Path) -> None:
    """A reload reads the file again; one that cannot be read changes nothing."""
    user, password = keystone.create_person("member"), "made-up-another-password"
    file = tmp_path / "keystone.password"
    assert (await ask(daemon, keystone.token(user)))[0] == 200
    (account,) = keystone.told("GET", f"/users?name={username_of(daemon)}")["users"]
    keystone.told("PATCH", f"/users/{account['id']}", {"user": {"password": password}})
    assert (await ask(daemon, keystone.token(user)))[0] == 503

    kept = await to_thread(file.rename, tmp_path / "kept")
    daemon.reload()
    await daemon.until_told("config.rejected")
    await to_thread(kept.rename, file)
    file.write_text(password)
    daemon.reload()
    await daemon.until_told("config.reloaded")

    async def is_back() -> bool:  # a login in the second of the change gets a token that is refused
        return (await ask(daemon, keystone.token(user)))[0] == 200

    await until(is_back, "the new secret is not used")


async def test_a_token_ends_during_an_upload(daemon: Daemon, keystone: Keystone) -> None:
    """It is refused for new requests within cache_time, and the upload goes on to its end."""
    daemon.configure(**{"auth.keystone": {"cache_time": "1s"}})
    daemon.reload()
    await daemon.until_told("config.reloaded")
    user = keystone.create_person("member")
    token, other = keystone.token(user), keystone.token(user)
    ended = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"first half, "
        await ended.wait()
        yield b"second half"

    async with aiohttp.ClientSession(daemon.url) as session:
        record = {"name": "long", "disk_format": "raw", "container_format": "bare"}
        shown = {"X-Auth-Token": token}
        async with session.post("/v2/images", json=record, headers=shown) as answer:
            path = f"/v2/images/{(await answer.json())['id']}"
        headers = shown | {"Content-Type": "application/octet-stream"}
        upload = asyncio.create_task(session.put(f"{path}/file", data=body(), headers=headers))

        async def is_received() -> bool:
            image = await image_of(daemon, other, path)
            return bool(image["status"] == "saving")

        await until(is_received, "the upload does not begin")
        await to_thread(keystone.revoke, token)

        async def is_refused() -> bool:
            return (await ask(daemon, token, path))[0] == 401

        await until(is_refused, "the revoked token is accepted")
        ended.set()
        assert (await upload).status == 204

    assert (await image_of(daemon, other, path))["size"] == 23


def username_of(daemon: Daemon) -> object:
    """The name of its account."""
    return daemon.settings["auth.keystone"]["username"]


async def image_of(daemon: Daemon, token: str, path: str) -> dict[str, Any]:
    """The record."""
    image: dict[str, Any] = json.loads((await ask(daemon, token, path))[2])
    return image
