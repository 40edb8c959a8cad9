"""Real daemons that are given the wrong catalog, or the wrong disk: no byte of an image is lost,
and every refusal says what to do.

A disk is a folder behind a symbolic link, as an operator may mount one: what is unmounted is an
empty folder at the same path.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from imaged.core.place_marker import MARKER_NAME
from support.backend import ServersBackend
from support.client import Client
from support.daemon import Daemon
from support.seaweedfs import BUCKET, SeaweedFS
from support.waiting import until

DATA = b"an image that is needed" * 1000
DIGEST = hashlib.sha512(DATA).hexdigest()
#: So that what is a stray would be doomed, and what is doomed deleted, within a moment.
HASTY: Mapping[str, Mapping[str, object]] = {
    "reconcile": {"every": "200ms", "quarantine": "0", "max_strays": 1000, "max_share": 1.0},
    "scrubber": {"delay": "0", "every": "200ms"},
}

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]


@asynccontextmanager
async def serving(daemon: Daemon) -> AsyncIterator[Client]:
    """A daemon that is ready, and a client of it."""
    await daemon.start()
    try:
        async with Client(daemon.url) as client:
            yield client
    finally:
        await daemon.end()


async def store_image(daemon: Daemon) -> str:
    """Have an image acknowledged; its id."""
    async with serving(daemon) as client:
        image_id = await client.create()
        assert await client.put(image_id, DATA) == 204
    return image_id


async def refusal(daemon: Daemon) -> str:
    """What a daemon says that does not start."""
    daemon.launch()
    assert daemon.process is not None
    assert await daemon.process.end() == 1
    return daemon.log_text()


async def readiness(daemon: Daemon) -> tuple[int, str]:
    """What /readyz says."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{daemon.url}/readyz") as answer,
    ):
        return answer.status, await answer.text()


def lose_catalog(folder: Path) -> None:
    """Remove its file, and those beside it."""
    for file in folder.glob("catalog.db*"):
        file.unlink()


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


async def test_two_catalogs_never_share_a_folder(tmp_path: Path) -> None:
    """A staging machine with the settings of production, but for its catalog: refused at start, by
    every command that works on stores, and the file of its catalog is not even made.
    """
    production = Daemon(tmp_path, HASTY)
    image_id = await store_image(production)
    before = files(tmp_path / "images")
    other = tmp_path / "staging.db"
    staging = Daemon(tmp_path, {**HASTY, "catalog": {"url": f"sqlite:///{other}"}}, name="staging")

    said = await refusal(staging)
    commands = [
        await staging.command(*line)
        for line in (["scrub", "--once"], ["reconcile"], ["migrate"], ["quota", "p0"])
    ]
    checked = await staging.command("check-config")

    for text in (said, checked[2], *(errors for _, _, errors in commands)):
        assert f"no catalog in sqlite:///{other}" in text
        assert "holds 1 blob, and its marker names the catalog" in text
        assert "imaged migrate --new-catalog" in text
    assert {code for code, _, _ in (*commands, checked)} == {1}
    assert not other.exists()
    assert files(production.backend.images) == before  # type: ignore[union-attr]
    async with serving(production) as client:
        assert await client.digest(image_id) == DIGEST


async def test_a_place_of_another_catalog_is_refused(tmp_path: Path) -> None:
    """There is a catalog where catalog.url leads to, and it is another one: the same refusal, and
    an operator may take the folder over on purpose; then it is the first one that is refused.
    """
    production = Daemon(tmp_path, HASTY)
    await store_image(production)
    (tmp_path / "there").mkdir()
    elsewhere = Daemon(tmp_path / "there", HASTY)
    await store_image(elsewhere)
    wrong = {**HASTY, "catalog": {"url": f"sqlite:///{tmp_path}/there/catalog.db"}}
    mistaken = Daemon(tmp_path, wrong, name="mistaken")

    said = await refusal(mistaken)
    assert "belongs to another catalog" in said
    assert "imaged adopt-store local" in said

    code, _, errors = await mistaken.command("adopt-store", "local")
    assert (code, "--yes" in errors, "holds 1 blob" in errors) == (2, True, True)
    assert (await mistaken.command("adopt-store", "local", "--yes"))[0] == 0
    async with serving(mistaken):
        await mistaken.until_told("reconcile.braked")

        async def is_told() -> bool:
            status, text = await readiness(mistaken)
            return status == 200 and "1 of its 1 blobs have no row" in text

        await until(is_told, "readiness does not warn")
        shown = (await mistaken.command("status"))[1]
    assert "1 of its 1 blobs have no row" in shown
    assert DATA in files(tmp_path / "images").values()  # a share of everything never goes
    assert "belongs to another catalog" in await refusal(production)


async def test_two_catalogs_never_share_a_bucket(s3: SeaweedFS, tmp_path: Path) -> None:
    """Staging gets the prefix of production: refused at a start and by what deletes."""
    bucket = ServersBackend(f"sqlite:///{tmp_path}/here.db", s3.endpoint, uuid4().hex)
    production = Daemon(tmp_path, HASTY, on=bucket)
    image_id = await store_image(production)
    before = await bucket.keys()
    other = replace(bucket, url=f"sqlite:///{tmp_path}/there.db", prefix=uuid4().hex)
    await store_image(Daemon(tmp_path, HASTY, name="other", on=other))
    staging = Daemon(tmp_path, HASTY, name="staging", on=replace(other, prefix=bucket.prefix))

    said = [await refusal(staging)]
    for command in (["scrub", "--once"], ["reconcile", "--apply"]):
        code, output, errors = await staging.command(*command)
        assert code == 1, command
        said.append(output + errors)

    for text in said:
        assert "belongs to another catalog" in text
        assert f"s3://{BUCKET}/{bucket.prefix}/" in text
    assert await bucket.keys() == before
    async with serving(production) as client:
        assert await client.digest(image_id) == DIGEST


async def test_a_lost_catalog_is_made_anew_on_purpose_only(tmp_path: Path) -> None:
    """Without it nothing starts; with --new-catalog it does, and the images' bytes stay."""
    daemon = Daemon(tmp_path, HASTY)
    await store_image(daemon)
    lose_catalog(tmp_path)

    assert "There is no catalog in" in await refusal(daemon)
    code, _, errors = await daemon.command("migrate", "--new-catalog")
    assert (code, "holds 1 blob" in errors) == (2, True)
    assert (await daemon.command("migrate", "--new-catalog", "--yes"))[0] == 0
    async with serving(daemon) as client:
        await daemon.until_told("reconcile.braked")
        assert await client.list_all() == []

    assert DATA in files(tmp_path / "images").values()


async def test_an_older_catalog_is_the_same_catalog(tmp_path: Path) -> None:
    """Restored from a backup that was made before the last image: it starts, and what it does not
    know stays within the brake.
    """
    daemon = Daemon(tmp_path, HASTY)
    known = await store_image(daemon)
    with sqlite3.connect(tmp_path / "catalog.db") as catalog:
        catalog.execute("VACUUM INTO ?", [str(tmp_path / "backup.db")])
    catalog.close()
    await store_image(daemon)
    lose_catalog(tmp_path)
    (tmp_path / "backup.db").rename(tmp_path / "catalog.db")
    daemon.configure(reconcile={"max_share": 0.01})

    async with serving(daemon) as client:
        await daemon.until_told("reconcile.braked")
        assert await client.digest(known) == DIGEST
        assert [one["id"] for one in await client.list_all()] == [known]

    assert list(files(tmp_path / "images").values()).count(DATA) == 2


async def test_nothing_is_written_where_a_disk_is_not_mounted(tmp_path: Path) -> None:
    """Under a running daemon, and at a start: refused, and the mount point stays empty;
    what was doomed waits. When the disk is back, all goes on.
    """
    disk, mount_point = tmp_path / "disk", tmp_path / "empty"
    for folder in (disk, mount_point):
        folder.mkdir()
    (tmp_path / "images").symlink_to(disk)
    daemon = Daemon(tmp_path, {**HASTY, "scrubber": {"delay": "1h", "every": "200ms"}})
    async with serving(daemon) as client:
        image_id, doomed = [await client.create() for _ in range(2)]
        for one in (image_id, doomed):
            assert await client.put(one, DATA) == 204
        before = files(disk)

        swap(tmp_path / "images", mount_point)
        refused = await client.create()
        assert await client.put(refused, DATA) == 502  # a 503, to the sender
        assert await client.delete(doomed) == 204
        daemon.configure(scrubber={"delay": "0"})
        daemon.reload()
        await daemon.until_told("store.degraded")

        async def is_degraded() -> bool:
            return await readiness(daemon) == (503, "not ready: store local")

        await until(is_degraded, "the daemon says that it is ready")
        assert list(mount_point.iterdir()) == []
        assert files(disk) == before
        (told, *_) = daemon.told("store.degraded")
        assert "has lost its marker" in told["error"]
        assert "imaged adopt-store local" in told["error"]

        swap(tmp_path / "images", disk)
        await daemon.wait_ready()
        assert await client.digest(image_id) == DIGEST
        assert await client.put(refused, DATA) == 204
    swap(tmp_path / "images", mount_point)
    assert "Mount its filesystem" in await refusal(daemon)
    code, output, errors = await daemon.command("check-config")
    assert (code, "has lost its marker" in output + errors) == (1, True)
    assert list(mount_point.iterdir()) == []


def swap(link: Path, target: Path) -> None:
    """Let another filesystem be there from one moment to the next."""
    new = link.with_name("new")
    new.symlink_to(target)
    new.replace(link)


async def test_another_disk_is_not_taken_for_the_first(tmp_path: Path) -> None:
    """The disks of two stores are exchanged: nothing is deleted as a stray of the other one."""
    far = tmp_path / "far"
    far.mkdir()
    more = {"stores.far": {"type": "filesystem", "path": str(far), "min_free": "0"}}
    daemon = Daemon(tmp_path, {**HASTY, **more})
    await store_image(daemon)
    shutil.move(tmp_path / "images", tmp_path / "third")
    shutil.move(far, tmp_path / "images")
    shutil.move(tmp_path / "third", far)

    said = await refusal(daemon)

    assert "is that of the store 'far'" in said
    assert DATA in files(far).values()


async def test_scratch_of_another_catalog_is_left_alone(tmp_path: Path) -> None:
    """The second catalog does not know its attempts, and would have removed them."""
    here, there = (tmp_path / name for name in ("here", "there"))
    for folder in (here, there):
        folder.mkdir()
    first = Daemon(here, HASTY)
    attempt = "0f0e0d0c-0b0a-4000-8000-000000000001"
    second = Daemon(there, {**HASTY, "conversion": {"scratch": str(first.scratch)}})
    (first.scratch / attempt).mkdir()
    async with serving(first):

        async def is_swept() -> bool:
            return not (first.scratch / attempt).exists()

        await until(is_swept, "the first daemon did not sweep")
    assert (first.scratch / MARKER_NAME).exists()
    (first.scratch / attempt).mkdir()

    async with serving(second):
        await second.until_told("sweep.failed")

    assert (first.scratch / attempt).exists()
    (told,) = second.told("sweep.failed")
    assert "belongs to another catalog" in told["error"]
    marker = json.loads((first.scratch / MARKER_NAME).read_text())
    assert marker["kind"] == "scratch"
