"""A night of faults, squeezed into a minute: whatever the log says of it, the documents explain.

Two daemons share a database and a bucket behind a proxy that lets calls go wrong; a third has a
file and a folder. Their logs are what an operator reads in the morning: every line is one event,
in the catalogue with this level and these fields, which says what to do.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from asyncio import to_thread
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import aiohttp
import pytest

from imaged.core.blob import make_key
from imaged.core.limits import MIB
from support.backend import FolderBackend, ServersBackend
from support.client import Client
from support.daemon import Daemon
from support.event_catalogue import catalogue, undocumented
from support.fault_proxy import Fault, FaultProxy, Plan, fail, fail_all, no_faults
from support.postgresql import Server, execute, fresh_database
from support.seaweedfs import ACCESS_KEY, SECRET_KEY, SeaweedFS
from support.waiting import until

PASSWORD = "made-up-for-a-night"
SECRETS = (PASSWORD, ACCESS_KEY, SECRET_KEY)

#: What such a night brings with certainty. The rest depends on timing.
CERTAIN = {
    "answer.broken_off",
    "blob.bytes_missing",
    "blob.delete_failed",
    "blob.stray_found",
    "catalog.degraded",
    "claim.taken_back",
    "config.rejected",
    "config.reloaded",
    "config.restart_needed",
    "daemon.started",
    "daemon.stopped",
    "daemon.stopping",
    "image.created",
    "image.deleted",
    "image.upload_started",
    "image.uploaded",
    "log.repeated",
    "reconcile.braked",
    "request.failed",
    "scrub.finished",
    "store.degraded",
    "store.full",
    "store.recovered",
}

IMPATIENT = {"stores.cloud": {"attempts": 1, "retry_for": "1s", "read_timeout": "3s"}}

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(400)]


async def test_every_line_of_a_night_is_explained(s3: SeaweedFS, tmp_path: Path) -> None:
    """Each fault in turn; then each line of each log is looked up."""
    async with begun(s3, tmp_path) as night:
        await night.bucket_fails()
        await night.deletes_fail()
        await night.bucket_is_back()
        await night.database_restarts()
        await night.daemon_is_killed()
        await night.clients_misbehave()
        await night.settings_are_wrong()
        await night.folder_is_lost()
        await night.disk_is_full()

    lines = [line for daemon in night.daemons for line in daemon.log_text().splitlines()]
    events = [json.loads(line) for line in lines]
    assert [found for event in events for found in undocumented(event)] == []
    assert {event["event"] for event in events} - {"library.reported"} >= CERTAIN
    assert not [line for line in lines for secret in SECRETS if secret in line]
    assert all(
        catalogue()[event["event"]].what_to_do != "Nothing."
        for event in events
        if event["level"] in {"warning", "error"}
    )
    assert len(lines) < night.requests * 4


@dataclass(frozen=True)
class GuardedServers(ServersBackend):
    """The database asks for a password."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The keys of the bucket, and the password."""
        return {**super().environment, "PGPASSWORD": PASSWORD}


@asynccontextmanager
async def begun(s3: SeaweedFS, folder: Path) -> AsyncIterator[Night]:
    """Everything runs; in the end it stops, in good order."""
    server, proxy = Server(), FaultProxy(s3.port)
    async with AsyncExitStack() as opened:
        opened.push_async_callback(to_thread, server.remove)
        await to_thread(server.start)
        await opened.enter_async_context(proxy.running())
        url = await opened.enter_async_context(fresh_database(server.url))
        backend = GuardedServers(await _guard(url), proxy.endpoint, uuid4().hex)
        alone = FolderBackend(folder / "alone")
        alone.folder.mkdir()
        night = Night(
            proxy,
            server,
            near=Daemon(folder, IMPATIENT, name="near", on=backend),
            far=Daemon(folder, IMPATIENT, name="far", on=backend),
            alone=Daemon(alone.folder, name="alone", on=alone),
        )
        for daemon in night.daemons:
            opened.push_async_callback(daemon.end)
            await daemon.start()
        yield night


class Night:
    """Three daemons, and everything that they stand on."""

    def __init__(
        self, proxy: FaultProxy, server: Server, *, near: Daemon, far: Daemon, alone: Daemon
    ) -> None:
        self._proxy = proxy
        self._server = server
        self._near = near
        self._far = far
        self._alone = alone
        self.daemons = [near, far, alone]
        self.requests = 0

    async def bucket_fails(self) -> None:
        """Uploads and downloads, while the bucket answers with errors, slowly, or not at all."""
        async with Client(self._near.url) as client:
            whole = await self._upload(client, bytes(MIB))
            large = await self._upload(client, bytes(11 * MIB))
            for fault in (Fault.INTERNAL_ERROR, Fault.DENIED, Fault.RESET, Fault.GARBAGE):
                self._proxy.plan = fail_all(0, fault)
                await asyncio.gather(*(self._upload(client, bytes(MIB)) for _ in range(3)))
                path = f"/v2/images/{whole}/file"
                await asyncio.gather(*(self._ask(client, "GET", path) for _ in range(3)))
                await self._ask(client, "GET", "/readyz")
            self._proxy.plan = fail("upload_part", 0, Fault.HANGING)
            await self._upload(client, bytes(11 * MIB))
            self._proxy.plan = self._break_off(large)
            self._proxy.answered_bytes = 9 * MIB  # a block, and all that is read ahead of it
            with suppress(aiohttp.ClientError):
                await client.digest(large)
            self._proxy.answered_bytes = None

    def _break_off(self, image_id: str) -> Plan:
        """The first request for the image's data ends after a whole block, the rest is refused.
        Meanwhile both daemons may read the marker of the bucket.
        """
        reads = count()

        def plan(call: str, _number: int) -> Fault | None:
            is_read = call == "get_object" and image_id in self._proxy.heads[call]
            return Fault.DENIED if is_read and next(reads) else None

        return plan

    async def deletes_fail(self) -> None:
        """The scrubber cannot do its work."""
        self._proxy.plan = no_faults
        async with Client(self._near.url) as client:
            images = [await self._upload(client, b"bytes") for _ in range(8)]
            self._proxy.plan = fail("delete_object", 0, Fault.DENIED, for_ever=True)
            for image_id in images:
                await client.delete(image_id)
            await self._wait_for("blob.delete_failed")

    async def bucket_is_back(self) -> None:
        """No fault is left, and probes find that out."""
        self._proxy.plan = no_faults
        async with Client(self._near.url) as here, Client(self._far.url) as there:

            async def is_told() -> bool:
                for client in (here, there):
                    await self._ask(client, "GET", "/readyz")
                return self._count("store.recovered") > 0

            await until(is_told, "the store never recovered", within_seconds=60)

    async def database_restarts(self) -> None:
        """With clients that ask meanwhile."""
        async with Client(self._near.url) as here, Client(self._far.url) as there:
            for how in (signal.SIGINT, signal.SIGQUIT):
                await to_thread(self._server.stop, how)
                asked = [(client, "/v2/images") for client in (here, there) for _ in range(6)]
                asked += [(here, "/readyz"), (there, "/readyz")]
                await asyncio.gather(*(self._ask(client, "GET", path) for client, path in asked))
                await to_thread(self._server.start)
                for daemon in (self._near, self._far):
                    await daemon.wait_ready()

    async def daemon_is_killed(self) -> None:
        """In the middle of an upload; the other one takes the work back."""
        async with Client(self._near.url) as client:
            image_id, has_begun = await client.create(), asyncio.Event()
            upload = asyncio.create_task(client.put(image_id, _endless(has_begun)))
            await has_begun.wait()
            async with Client(self._far.url) as other:
                await other.until_status(image_id, "saving")
                await self._near.end(signal.SIGKILL)
                await other.until_status(image_id, "queued")
            with suppress(aiohttp.ClientError, ConnectionError):
                await upload
        await self._near.start()

    async def clients_misbehave(self) -> None:
        """Garbage, bad requests, and data that ends too early."""
        async with Client(self._near.url) as client:
            for path in ("/v2/images?limit=-1", "/v2/images/none", "/v2/images?sort_key=\x1b[2J"):
                await self._ask(client, "GET", path)
            await self._ask(client, "POST", "/v2/images", data=b"{")
            image_id, has_begun = await client.create(), asyncio.Event()
            upload = asyncio.create_task(client.put(image_id, _endless(has_begun)))
            await has_begun.wait()
            upload.cancel()
        for text in (
            b"\x16\x03\x01 no HTTP\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
        ):
            await self._say(text)
        head = b"PUT /v2/images/x/file HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
        await self._say(head + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")

    async def settings_are_wrong(self) -> None:
        """A reload is refused, one is applied, and one needs a restart."""
        for changes, event in (
            ({"scrubber": {"delay": "soon"}}, "config.rejected"),
            ({"scrubber": {"delay": "1h"}}, "config.reloaded"),
            ({"claims": {"lease": "9s"}}, "config.restart_needed"),
        ):
            self._far.configure(**changes)
            self._far.reload()
            await self._wait_for(event)

    async def folder_is_lost(self) -> None:
        """Stray bytes, and missing bytes."""
        images = Path(self._alone.folder) / "images"
        async with Client(self._alone.url) as client:
            lost = await self._upload(client, bytes(MIB))
            next(images.rglob(f"{lost}*")).unlink()
            await self._ask(client, "GET", f"/v2/images/{lost}/file")
            kept = await self._upload(client, bytes(MIB))
            whole = next(images.rglob(f"{kept}*"))
            for _ in range(3):
                shutil.copy(whole, whole.with_name(make_key(kept, uuid4())[3:]))
            self._alone.configure(reconcile={"every": "300ms", "max_strays": 1, "max_share": 0.0})
            self._alone.reload()
            await self._wait_for("reconcile.braked")
            await self._wait_for("blob.bytes_missing")

    async def disk_is_full(self) -> None:
        """More must stay free than there is; seen at a start, and by uploads."""
        await self._alone.end()
        self._alone.configure(**{"stores.local": {"min_free": "8000TiB"}})
        await self._alone.start()
        async with Client(self._alone.url) as client:
            await self._upload(client, bytes(MIB))
        await self._wait_for("store.full")

    async def _upload(self, client: Client, data: bytes) -> str:
        self.requests += 2
        image_id = await client.create()
        with suppress(aiohttp.ClientError):
            await client.put(image_id, data)
        return image_id

    async def _ask(self, client: Client, method: str, path: str, **options: object) -> None:
        self.requests += 1
        with suppress(aiohttp.ClientError):
            await client.request(method, path, **options)

    async def _say(self, text: bytes) -> None:
        """Send what no client of HTTP would, and wait for the end of the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._near.port)
        writer.write(text)
        await reader.read()
        writer.close()
        await writer.wait_closed()

    async def _wait_for(self, event: str) -> None:
        async def is_told() -> bool:
            return self._count(event) > 0

        await until(is_told, f"{event} is not told")

    def _count(self, event: str) -> int:
        return Counter(e["event"] for daemon in self.daemons for e in daemon.events())[event]


async def _guard(url: str) -> str:
    """The URL as a role that has to know its password."""
    parts = urlsplit(url)
    role = parts.path.strip("/").replace("imaged", "role")
    await execute(url, f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    await execute(url, f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    return urlunsplit(parts._replace(netloc=f"{role}@{parts.hostname}:{parts.port}"))


async def _endless(has_begun: asyncio.Event) -> AsyncIterator[bytes]:
    """A body that never ends; told when it has begun."""
    while True:
        yield bytes(64 * 1024)
        has_begun.set()
        await asyncio.sleep(0.02)
