"""Real daemons whose catalogs lead to one bucket: the second is refused, and no object changes."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from e2e.test_places import DATA, DIGEST, HASTY, refusal, serving, store_image
from support.backend import ServersBackend
from support.daemon import Daemon
from support.seaweedfs import BUCKET, SeaweedFS, plain_client

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]


def objects_of(bucket: ServersBackend) -> dict[str, str]:
    """Everything below its prefix, with a digest of the bytes."""
    with closing(plain_client(bucket.endpoint)) as client:
        found = client.list_objects_v2(Bucket=BUCKET, Prefix=f"{bucket.prefix}/")["Contents"]
        return {
            entry["Key"]: hashlib.sha256(
                client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
            ).hexdigest()
            for entry in found
        }


def on_bucket(s3: SeaweedFS, folder: Path) -> ServersBackend:
    """A catalog in a file, and a folder of the bucket."""
    folder.mkdir()
    return ServersBackend(f"sqlite:///{folder}/catalog.db", s3.endpoint, uuid4().hex)


async def test_two_catalogs_never_share_a_bucket(s3: SeaweedFS, tmp_path: Path) -> None:
    """Staging gets the prefix of production: refused at a start and by each command that deletes;
    so is a catalog that would have to be made first. Production goes on.
    """
    here, there = tmp_path / "here", tmp_path / "there"
    ours, theirs = on_bucket(s3, here), on_bucket(s3, there)
    production = Daemon(here, HASTY, on=ours)
    image_id = await store_image(production)
    await store_image(Daemon(there, HASTY, on=theirs))
    before = await asyncio.to_thread(objects_of, ours)
    assert hashlib.sha256(DATA).hexdigest() in before.values()
    staging = Daemon(there, HASTY, name="staging", on=replace(theirs, prefix=ours.prefix))
    new = replace(ours, url=f"sqlite:///{there}/new.db")

    said = [await refusal(staging)]
    for command in (["scrub", "--once"], ["reconcile", "--apply"]):
        code, output, errors = await staging.command(*command)
        assert code == 1, command
        said.append(output + errors)
    unmade = await refusal(Daemon(there, HASTY, name="new", on=new))

    for text in said:
        assert "belongs to another catalog" in text
        assert f"s3://{BUCKET}/{ours.prefix}/" in text
        assert "catalog.url" in text
    assert f"no catalog in {new.url}" in unmade
    assert "holds 1 blob, and its marker names the catalog" in unmade
    assert await asyncio.to_thread(objects_of, ours) == before
    async with serving(production) as client:
        assert await client.digest(image_id) == DIGEST
