"""A machine is lost, and another one goes on from a backup that was made under load.

What is typed here is read from the page for operators, with other paths.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from asyncio import to_thread
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.backdoor import require_settled
from support.backend import FolderBackend, Sections
from support.client import Client
from support.daemon import Daemon
from support.imaged_process import IMAGED
from support.page_examples import ROOT, blocks
from support.postgresql import Server
from support.traffic import Traffic

PAGE = ROOT / "docs/how-to/back-up.md"
PASSWORD = "made-up"

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]


@dataclass(frozen=True)
class OnPostgresql(FolderBackend):
    """The bytes in a folder, the facts in a database that has the name of the page."""

    port: int = 0

    @property
    def sections(self) -> Sections:
        """As the page on PostgreSQL says."""
        url = f"postgresql://imaged@127.0.0.1:{self.port}/imaged"
        return {**super().sections, "catalog": {"url": url}}

    @property
    def environment(self) -> Mapping[str, str]:
        """The password of the role."""
        return {"PGPASSWORD": PASSWORD}


@dataclass(frozen=True)
class Operator:
    """Types what the page says, on the machine of one daemon."""

    daemon: Daemon
    backup: Path
    server: Server | None = None

    def follow(self, *blocks: str) -> str:
        """Type blocks; each command must succeed. What they show."""
        return "".join(self._type(line) for block in blocks for line in block.splitlines())

    def _type(self, line: str) -> str:
        done = subprocess.run(
            ["bash", "-c", self._meant(line)],
            capture_output=True, text=True, check=False, env=self._environment(),
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _meant(self, line: str) -> str:
        for said, meant in {
            "sudo -u imaged ": "",
            "sudo -u postgres ": "",
            "-o imaged -g imaged ": "",
            "/opt/imaged/bin/python": sys.executable,
            "imaged reconcile": f"{IMAGED} reconcile --config {self.daemon.config}",
            "/var/lib/imaged": str(self.daemon.folder),
            "/backup": str(self.backup),
        }.items():
            line = line.replace(said, meant)
        return line

    def _environment(self) -> dict[str, str]:
        if self.server is None:
            return dict(self.daemon.environment)
        return {
            **self.daemon.environment,
            "PATH": f"{self.server.programs}:{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.server.port),
            "PGUSER": "postgres",
        }


def told() -> Iterator[str]:
    """The blocks of the page that are typed here, without their prompts."""
    for block in blocks(PAGE):
        if "tests/e2e/test_backup.py" in block.mark:
            yield "\n".join(step.command.removeprefix("# ") for step in block.steps)


@asynccontextmanager
async def postgresql() -> AsyncIterator[Server]:
    """A database server with the role and the database that the pages speak of."""
    server = await to_thread(Server)
    await to_thread(server.start)
    try:
        role = f"CREATE ROLE imaged LOGIN PASSWORD '{PASSWORD}'"
        for statement in (role, "CREATE DATABASE imaged OWNER imaged TEMPLATE template0"):
            psql = [str(server.programs / "psql"), "-q", server.url, "-c", statement]
            await to_thread(subprocess.run, psql, check=True)
        yield server
    finally:
        await to_thread(server.remove)


async def test_a_lost_machine_with_sqlite_comes_back_from_its_backup(tmp_path: Path) -> None:
    """Every image that was active at the backup can be read, and reconcile misses nothing."""
    place, catalog, _, images, put_catalog, _, put_images, compare = told()
    lost, found = (_daemon(FolderBackend(tmp_path / name)) for name in ("lost", "found"))

    crowd, before = await lose(Operator(lost, tmp_path / "backup"), place, catalog, images)
    report = Operator(found, tmp_path / "backup").follow(put_catalog, put_images, compare)

    await check(found, report, crowd, before)


async def test_a_lost_machine_with_postgresql_comes_back_from_its_backup(tmp_path: Path) -> None:
    """The same, where the database itself is lost too."""
    place, _, catalog, images, _, put_catalog, put_images, compare = told()
    backup = tmp_path / "backup"
    async with postgresql() as server:
        lost, found = (
            _daemon(OnPostgresql(tmp_path / name, port=server.port)) for name in ("lost", "found")
        )
        assert (await lost.command("migrate"))[0] == 0

        crowd, before = await lose(Operator(lost, backup, server), place, catalog, images)
        report = Operator(found, backup, server).follow(put_catalog, put_images, compare)

        await check(found, report, crowd, before)


def _daemon(machine: FolderBackend) -> Daemon:
    machine.images.mkdir(parents=True)
    return Daemon(machine.folder, {"scrubber": {"delay": "1h"}}, on=machine)


async def lose(operator: Operator, *save: str) -> tuple[Traffic, set[str]]:
    """Work on a machine, make a backup under load, and lose it; what was stored by then."""
    await operator.daemon.start()
    crowd = Traffic([operator.daemon], seed=3)
    people = asyncio.create_task(crowd.run())
    try:
        await crowd.grows_by(12)
        before = set(crowd.acknowledged)
        for block in save:
            await to_thread(operator.follow, block)
            await crowd.grows_by(4)  # a backup takes its time, and blocks no client
    finally:
        people.cancel()
        with suppress(asyncio.CancelledError):
            await people
        await operator.daemon.end(signal.SIGKILL)
    return crowd, before


async def check(daemon: Daemon, report: str, crowd: Traffic, before: set[str]) -> None:
    """What was stored before the backup is there and whole; what came later may be lost."""
    assert " 0 missing" in report
    await daemon.start()
    try:
        async with Client(daemon.url) as client:
            await require_settled(client)
            images = {image["id"]: image["status"] for image in await client.list_all()}
            active = {image_id for image_id, status in images.items() if status == "active"}
            assert set(images.values()) <= {"active", "queued"}
            assert before - crowd.deleted <= active
            for image_id in active:
                digest = await client.digest(image_id)
                assert digest == crowd.acknowledged.get(
                    image_id, digest
                )  # or its 204 was not heard
    finally:
        assert await daemon.end() == 0
