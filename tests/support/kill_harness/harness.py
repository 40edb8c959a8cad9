"""Where workers of tasks are killed: one daemon that answers, and one that works and dies.

The daemon in front accepts tasks and never does any; it scrubs, sweeps and takes back. It also is
the server on the web that tasks fetch from.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import random
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, update

from contracts.export_s3 import ExportBackdoor
from exports.test_filesystem import FolderBackdoor
from imaged.catalogs.connect import open_catalog
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.catalogs.tables import blobs, claims
from imaged.catalogs.task_tables import tasks
from imaged.config import load
from imaged.core.blob import BlobState
from imaged.core.limits import MIB
from support.backdoor import LEDGER_LIMIT
from support.backend import SECOND_STORE, FolderBackend, ServersBackend, with_second_store
from support.client import OCTETS, Client
from support.daemon import Daemon
from support.kill_harness.daemon import KillPoint, read_counts, write_kill_plan
from support.ports import reserve_port
from support.quotas import usage, usage_by_owner
from support.task_client import TaskClient
from support.waiting import until

TESTS = Path(__file__).parents[2]
SOURCE_DATA = (
    random.Random(9).randbytes(510) + bytes(2) + random.Random(10).randbytes(12 * MIB - 512)
)
SOURCE_DIGEST = hashlib.sha512(SOURCE_DATA).hexdigest()
TASK_TIMEOUT_SECONDS = 90
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

SETTINGS: Mapping[str, Mapping[str, object]] = {
    "claims": {"lease": "60s", "renew_every": "500ms"},
    "tasks": {"poll_every": "200ms", "concurrency": 16},
}


@dataclass
class KillHarness:
    """Both daemons, and the doors to what they do."""

    front: Daemon
    worker: Daemon
    client: Client
    catalog: SqlCatalog
    door: FolderBackdoor | ExportBackdoor  # of the destination of exports
    source_id: str = ""

    @property
    def tasks(self) -> TaskClient:
        """Tasks, as their owner sees them."""
        return TaskClient(self.client)

    @property
    def url(self) -> str:
        """Of the source, as a file on the web."""
        return f"{self.front.url}/v2/images/{self.source_id}/file"

    async def upload(self) -> str:
        """The source of everything."""
        self.source_id = await self.client.create(name="source")
        assert await self.client.put(self.source_id, SOURCE_DATA) == 204
        return self.source_id

    async def call_import(self, call: str, body: Mapping[str, object]) -> str:
        """Ask that an image get its data; the task's id."""
        image_id = await self.client.create(name=call)
        if call == "import":
            path = f"/v2/images/{image_id}/stage"
            staged = await self.client.request(
                "PUT", path, data=io.BytesIO(SOURCE_DATA), headers=OCTETS
            )
            assert staged == (204, b"")
        asked = await self.client.request("POST", f"/v2/images/{image_id}/{call}", json=body)
        assert asked == (202, b"")
        _, answer = await self.client.request("GET", f"/v2/images/{image_id}/tasks")
        (task,) = json.loads(answer)["tasks"]
        task_id: str = task["id"]
        return task_id

    async def kill(self, plan: Mapping[str, KillPoint]) -> None:
        """Have a worker die when every task is at its moment, or has ended."""
        async with self._watched(plan) as (process, told):

            async def have_stopped() -> bool:
                stopped = {*told.read_text().split()}
                for task_id in [one for one in to_cancel if one in stopped]:
                    to_cancel.remove(task_id)
                    path = f"/v2/tasks/{task_id}/actions/cancel"
                    await self.client.request("POST", path)  # refused if it has just ended
                rest = [await self.tasks.show(task_id) for task_id in plan.keys() - stopped]
                going[:] = [task for task in rest if task["status"] not in {"success", "failure"}]
                return not going

            going: list[dict[str, Any]] = []
            to_cancel = [task_id for task_id, point in plan.items() if point.is_cancelled]
            await until(
                have_stopped,
                lambda: f"some tasks neither end nor stop: {going}",
                TASK_TIMEOUT_SECONDS,
            )
            process.kill()
            await process.wait()
        await self.catalog.database.write(_expire_leases)

    async def count(self, task_ids: Collection[str]) -> dict[str, int]:
        """How many moments tasks have that are not disturbed."""
        async with self._watched({}) as (process, told):
            await self.ends_of(task_ids)
            process.terminate()
            assert await process.wait() == 0, self.worker.log_text()[-3000:]
            counts = read_counts(told)
        return {task_id: counts[task_id] for task_id in task_ids}

    @asynccontextmanager
    async def _watched(self, plan: Mapping[str, KillPoint]) -> AsyncIterator[tuple[Process, Path]]:
        """A worker whose calls are counted, and the file that it tells its moments."""
        file, told = self.worker.folder / "plan.json", self.worker.folder / "told.txt"
        write_kill_plan(file, plan)
        told.write_text("")
        with self.worker.log_file.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "support.kill_harness.daemon", self.worker.config, file, told,
                stdout=log, stderr=log,
                env={**self.worker.environment, "PYTHONPATH": str(TESTS)},
            )  # fmt: skip
        try:
            yield process, told
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """An ordinary worker, from its start to its end."""
        starts = self._starts()
        self.worker.launch()

        async def has_started() -> bool:
            return self._starts() > starts

        await until(has_started, "the worker does not start")
        yield
        assert await self.worker.end() == 0, self.worker.log_text()[-3000:]

    def _starts(self) -> int:
        return self.worker.log_text().count('"daemon.started"')

    async def ends_of(self, task_ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """The tasks, when all have ended."""
        ends = [self.tasks.end_of(task_id, TASK_TIMEOUT_SECONDS) for task_id in task_ids]
        return dict(zip(task_ids, await asyncio.gather(*ends), strict=True))

    async def require_clean(self, files: set[str]) -> None:
        """Wait until nothing is anywhere but the images that are listed, and these exports."""
        wrong: list[str] = []

        async def is_clean() -> bool:
            await self.catalog.database.write(_make_blobs_due)
            wrong[:] = [what async for what in self._too_much(files)]
            return not wrong

        await until(is_clean, lambda: f"left behind: {wrong}")

    async def _too_much(self, files: set[str]) -> AsyncIterator[str]:
        listed = [image["id"] for image in await self.client.list_all()]
        images = [await self.catalog.get_image(image_id) for image_id in listed]
        held = {key for image in images for key in image.held}
        swept = {blob.key for blob in await self.catalog.list_doomed(LEDGER_LIMIT) if blob.is_swept}
        rows = {
            key
            for store in ("local", "cloud", SECOND_STORE)
            for key in await self.catalog.list_keys(store)
        } - swept
        kept = await self.front.backend.keys()
        if not held == rows == kept:
            yield f"rows {rows ^ held}, bytes {kept ^ held}"
        for key in rows:
            blob = await self.catalog.get_blob(key)
            if blob is None or blob.state is not BlobState.KEPT:
                yield f"{blob}"
        used = (await self.catalog.get_account("admin")).usage
        if used != (expected := usage_by_owner(images).get("admin", usage())):
            yield f"a usage of {used}, not {expected}"
        if attempts := await self.catalog.list_attempts():
            yield f"the claims {attempts}"
        if scratch := [path.name for path in self.worker.scratch.iterdir() if path.is_dir()]:
            yield f"the scratch folders {scratch}"
        if (exported := await self.door.names()) != files:
            yield f"the exports {exported ^ files}"
        if children := _converters(str(self.worker.scratch)):
            yield f"the processes {children}"


def _expire_leases(db: Connection) -> None:
    """Their holder is dead, and tests do not wait. So they can be long, and are never lost by
    a worker that a busy machine keeps from speaking.
    """
    db.execute(update(claims).values(until=LONG_AGO))
    db.execute(update(tasks).where(tasks.c.token.is_not(None)).values(until=LONG_AGO))


def _make_blobs_due(db: Connection) -> None:
    """The same for bytes whose writer might still have been writing."""
    db.execute(update(blobs).where(blobs.c.due_at.is_not(None)).values(due_at=LONG_AGO))


def _converters(scratch: str) -> list[str]:
    """Processes that work on files there."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_text(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        if scratch in command:
            found.append(command.replace("\0", " "))
    return found


@asynccontextmanager
async def kill_harness(
    folder: Path,
    backend: FolderBackend | ServersBackend,
    exports: Mapping[str, object],
    door: FolderBackdoor | ExportBackdoor,
) -> AsyncIterator[KillHarness]:
    """The front is there, with a source; no worker is."""
    both, port = with_second_store(backend), reserve_port()
    settings = {
        **SETTINGS,
        "exports.archive": exports,
        "fetch": {"allow": ["127.0.0.0/8"], "ports": [port]},
    }
    front = Daemon(
        folder,
        {**settings, "daemon": {"roles": ["api", "scrubber"]}},
        name="front",
        port=port,
        on=both,
    )
    worker = Daemon(
        folder, {**settings, "daemon": {"roles": ["scrubber", "tasks"]}}, name="worker", on=both
    )
    await front.start()
    try:
        catalog = await open_catalog(load(front.config, both.environment).catalog.url)
        try:
            async with Client(front.url) as client:
                here = KillHarness(front, worker, client, catalog, door)
                await here.upload()
                yield here
        finally:
            await catalog.close()
    finally:
        await worker.end(signal.SIGKILL)
        await front.end(signal.SIGKILL)
