"""A machine is lost, and another one goes on from a backup that was made under load.

What is typed here is read from the page for operators, with other paths.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
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
from support.page_claims import typed_in
from support.postgresql import Server
from support.traffic import Traffic

PAGE = "docs/how-to/back-up.md"
PASSWORD = "made-up"

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]


@dataclass(frozen=True)
class OnPostgresql(FolderBackend):
    """The bytes in a folder, the facts in a database."""

    port: int = 0
    database: str = ""

    @property
    def sections(self) -> Sections:
        """As the page on PostgreSQL says."""
        url = f"postgresql://imaged@127.0.0.1:{self.port}/{self.database}"
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

    def follow(self, block: str) -> str:
        """Type a block; each command must succeed. What they show."""
        return "".join(self._type(line) for line in block.splitlines())

    def _type(self, line: str) -> str:
        done = subprocess.run(
            ["bash", "-c", self._meant(line)],
            capture_output=True, text=True, check=False, env=self._environment(),
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _meant(self, line: str) -> str:
        made = next(self.backup.glob("2*"), self.backup)
        for said, meant in {
            "sudo -u imaged ": "",
            "-o imaged -g imaged ": "",
            "imaged backup": f"{IMAGED} backup --config {self.daemon.config}",
            "imaged restore-backup": f"{IMAGED} restore-backup",
            "imaged check-config": f"{IMAGED} check-config --config {self.daemon.config}",
            "imaged reconcile": f"{IMAGED} reconcile --config {self.daemon.config}",
            "/etc/imaged/imaged.toml": str(self.daemon.config),
            "/backup/2026-11-30T09-15-00Z": str(made),
            " /backup": f" {self.backup}",
        }.items():
            line = line.replace(said, meant)
        return line

    def _environment(self) -> dict[str, str]:
        if self.server is None:
            return dict(self.daemon.environment)
        return {
            **self.daemon.environment,
            "PATH": f"{self.server.programs}:{os.environ['PATH']}",
        }


def told() -> Iterator[str]:
    """The blocks of the page that are typed here, without their prompts."""
    for block in typed_in("tests/e2e/test_backup.py", PAGE):
        yield "\n".join(step.command.removeprefix("# ") for step in block.steps)


@asynccontextmanager
async def postgresql() -> AsyncIterator[Server]:
    """A database server with the role that the pages speak of, and two databases."""
    server = await to_thread(Server)
    await to_thread(server.start)
    try:
        role = f"CREATE ROLE imaged LOGIN PASSWORD '{PASSWORD}'"
        databases = [
            f"CREATE DATABASE {name} OWNER imaged TEMPLATE template0" for name in ("lost", "found")
        ]
        for statement in (role, *databases):
            psql = [str(server.programs / "psql"), "-q", server.url, "-c", statement]
            await to_thread(subprocess.run, psql, check=True)
        yield server
    finally:
        await to_thread(server.remove)


async def test_a_lost_machine_with_sqlite_comes_back_from_its_backup(tmp_path: Path) -> None:
    """Every image that was active at the backup can be read, and reconcile misses nothing."""
    lost, found = (_daemon(FolderBackend(tmp_path / name)) for name in ("lost", "found"))

    await lose_and_restore(*(Operator(one, tmp_path / "backup") for one in (lost, found)))


async def test_a_lost_machine_with_postgresql_comes_back_from_its_backup(tmp_path: Path) -> None:
    """The same, where the database itself is lost too."""
    async with postgresql() as server:
        lost, found = (
            _daemon(OnPostgresql(tmp_path / name, port=server.port, database=name))
            for name in ("lost", "found")
        )
        assert (await lost.command("migrate"))[0] == 0

        await lose_and_restore(
            *(Operator(one, tmp_path / "backup", server) for one in (lost, found))
        )


async def lose_and_restore(lost: Operator, found: Operator) -> None:
    """One machine is lost under load, and another one goes on from its backup."""
    save, is_whole, restore, compare = told()
    crowd, before = await lose(lost, save)
    shown = [await to_thread(found.follow, block) for block in (is_whole, restore, compare)]

    assert " is whole: " in shown[0]
    await check(found.daemon, shown[-1], crowd, before)


def _daemon(machine: FolderBackend) -> Daemon:
    machine.images.mkdir(parents=True)
    return Daemon(machine.folder, {"scrubber": {"delay": "1h"}}, on=machine)


async def lose(operator: Operator, save: str) -> tuple[Traffic, set[str]]:
    """Work on a machine, make a backup under load, and lose it; what was stored by then."""
    await operator.daemon.start()
    crowd = Traffic([operator.daemon], seed=3)
    people = asyncio.create_task(crowd.run())
    try:
        await crowd.grows_by(12)
        before = set(crowd.acknowledged)
        await to_thread(operator.follow, save)
        await crowd.grows_by(4)  # these are lost: they came after the backup
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
