"""The database goes away while uploads are under way, and comes back before their leases end."""

from __future__ import annotations

import asyncio
import hashlib
from asyncio import to_thread
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imaged.core.limits import MIB
from support.client import OCTETS, Client
from support.daemon import Daemon
from support.postgresql import Server, fresh_database
from support.waiting import until

pytestmark = pytest.mark.asyncio

BEFORE = bytes(MIB)
AFTER = b"\x01" * MIB
SLICE_MIB = 64  # reserved ahead of a body whose length is not known


class Body:
    """Some of it now, and the rest when it is told to go on."""

    def __init__(self, before: int, after: int) -> None:
        self._chunks = [BEFORE] * before, [AFTER] * after
        self.is_half_sent = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.is_sent = asyncio.Event()
        self.size_bytes = (before + after) * MIB
        self.sha512 = hashlib.sha512(BEFORE * before + AFTER * after).hexdigest()

    async def send(self) -> AsyncIterator[bytes]:
        """The chunks."""
        before, after = self._chunks
        for chunk in before:
            yield chunk
        self.is_half_sent.set()
        await self.may_go_on.wait()
        for chunk in after:
            yield chunk
        self.is_sent.set()


async def test_uploads_wait_for_the_database(server: Server, tmp_path: Path) -> None:
    """One of unknown length, which has to reserve more meanwhile, and one that ends meanwhile."""
    longer, ending = Body(SLICE_MIB - 1, 8), Body(1, 1)
    async with fresh_database(server.url) as url:
        settings = {"catalog": {"url": url}, "claims": {"lease": "60s", "renew_every": "5s"}}
        daemon = Daemon(tmp_path, settings)
        try:
            await daemon.start()
            async with Client(daemon.url) as client:
                uploads = [
                    asyncio.create_task(upload(client, body, length))
                    for body, length in ((longer, None), (ending, ending.size_bytes))
                ]
                for body in (longer, ending):
                    await asyncio.wait_for(body.is_half_sent.wait(), 30)
                await to_thread(server.stop)
                for body in (longer, ending):
                    body.may_go_on.set()
                await asyncio.wait_for(ending.is_sent.wait(), 30)
                await until(lambda: is_away(client), "the daemon does not miss its database")
                assert not any(one.done() for one in uploads)
                await to_thread(server.start)

                assert await asyncio.gather(*uploads) == ["active", "active"]
        finally:
            await daemon.end()


async def is_away(client: Client) -> bool:
    """Whether the daemon says that its database is away."""
    status, said = await client.request("GET", "/readyz")
    return status == 503 and b"catalog" in said


async def upload(client: Client, body: Body, length: int | None) -> str:
    """Make an image of a body; return the status it has then."""
    image_id = await client.create()
    headers = dict(OCTETS)
    if length is not None:
        headers["Content-Length"] = str(length)
    path = f"/v2/images/{image_id}/file"
    status, said = await client.request("PUT", path, data=body.send(), headers=headers)
    assert status == 204, said
    image = await client.show(image_id)
    assert image["os_hash_value"] == body.sha512
    return str(image["status"])
