"""What became of tasks whose worker was killed, and of all that it had begun."""

from __future__ import annotations

import asyncio
import hashlib
from asyncio.subprocess import DEVNULL
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.kill_harness.daemon import KillPoint
from support.kill_harness.harness import SOURCE_DIGEST, KillHarness
from support.kill_harness.task_cases import TaskCase

NEVER = KillPoint(0)


@dataclass
class KillCase:
    """A task of a kind, and what is to become of it. ``name``: of its file, if it makes one."""

    kind: TaskCase
    name: str
    point: KillPoint = NEVER
    attempts: int = 2  # at most; so many, if it fails
    ends: bool = True  # with success, unless it is cancelled

    @property
    def may_fail(self) -> bool:
        """Whether it need not succeed."""
        return not self.ends or self.point.is_cancelled


class OutcomeCheck:
    """Looks at what became of tasks whose worker was killed."""

    def __init__(self, here: KillHarness) -> None:
        self._here = here
        self._files: set[str] = set()

    async def hold(
        self, cases: Mapping[str, KillCase], tasks: Mapping[str, dict[str, Any]]
    ) -> None:
        """Fail unless each ended as it should, and nothing else is there; then tidy up."""
        for task_id, case in cases.items():
            await self._look_at(case, tasks[task_id])
            kept = await self._here.catalog.get_task(task_id)
            fewest = 1 if case.ends else case.attempts
            if case.point.is_cancelled:  # maybe before it was picked up
                fewest = 0
            assert fewest <= kept.attempts <= case.attempts, (case, kept)
            assert kept.sealed is None
        made = {
            task["result"]["image_id"]
            for task_id, task in tasks.items()
            if task["result"] and cases[task_id].kind.makes == "image"
        }
        assert len(made) == sum(
            case.kind.makes == "image" and tasks[task_id]["status"] == "success"
            for task_id, case in cases.items()
        )
        named = {
            str(tasks[task_id]["image_id"]): case.kind.failed_status
            for task_id, case in cases.items()
            if case.kind.failed_status
        }
        listed = {image["id"]: image["status"] for image in await self._here.client.list_all()}
        assert listed.keys() == {self._here.source_id} | made | named.keys()
        for image_id, status in listed.items():
            expected = "active" if image_id not in named or image_id in made else named[image_id]
            assert status == expected, image_id
        await self._here.require_clean(self._files)
        for image_id in listed.keys() - {self._here.source_id}:
            assert await self._here.client.delete(image_id) == 204

    async def _look_at(self, case: KillCase, task: Mapping[str, Any]) -> None:
        if task["status"] == "failure":
            assert case.may_fail, (case, task["message"])
            assert task["message"].endswith("."), task
            assert ("cancelled" in task["message"]) == case.point.is_cancelled
            assert task["result"] is None
            return
        assert case.ends, case
        if case.kind.makes == "report":
            assert task["result"]["healthy"] is True
        elif case.kind.makes == "image":
            await self._require_data(case, await self._download(task["result"]["image_id"]))
        else:
            name = f"{case.name}.{case.kind.disk_format}"
            self._files.add(name)
            assert task["result"]["export_location"].endswith(f"/{name}")
            found = await self._here.door.read_raw(name)
            assert found is not None
            assert task["result"]["checksum"] == _md5(found)
            await self._require_data(case, found)

    async def _download(self, image_id: str) -> bytes:
        image = await self._here.client.show(image_id)
        status, data = await self._here.client.request("GET", f"/v2/images/{image_id}/file")
        assert (status, _md5(data)) == (200, image["checksum"])
        return data

    async def _require_data(self, case: KillCase, data: bytes) -> None:
        """They are those of the source, in whatever format."""
        if case.kind.disk_format != "raw":
            data = await unconverted(self._here.front.folder, case.kind.disk_format, data)
        assert hashlib.sha512(data).hexdigest() == SOURCE_DIGEST, case


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


async def unconverted(folder: Path, disk_format: str, data: bytes) -> bytes:
    """The disk in an image."""
    source, target = folder / "look.source", folder / "look.raw"
    source.write_bytes(data)
    process = await asyncio.create_subprocess_exec(
        "qemu-img", "convert", "-f", disk_format, "-O", "raw", source, target, stdin=DEVNULL
    )
    assert await process.wait() == 0
    return target.read_bytes()
