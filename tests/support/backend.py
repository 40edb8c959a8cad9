"""What daemons stand on: a file and a folder, or servers that many machines can share.

A backend says how a daemon is configured for it, and is a back door to the bytes that are there.
The door to the facts is the same for all: the catalog that the configuration names.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from imaged.core.place_marker import MARKER_NAME
from imaged.stores.layout import SELF_TEST_FOLDER, SELF_TEST_PREFIX
from support.postgresql import fresh_database
from support.seaweedfs import ACCESS_KEY, BUCKET, SECRET_KEY, plain_client

SECOND_STORE = "other"

Sections = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class FolderBackend:
    """SQLite and a filesystem, all in one folder."""

    folder: Path
    store: str = "local"

    @property
    def images(self) -> Path:
        """The store."""
        return self.folder / "images"

    @property
    def sections(self) -> Sections:
        """A file beside the store."""
        self.images.mkdir(parents=True, exist_ok=True)
        return {
            "catalog": {"url": f"sqlite:///{self.folder / 'catalog.db'}"},
            "stores": {"default": self.store},
            f"stores.{self.store}": {
                "type": "filesystem",
                "path": str(self.images),
                "min_free": "0",
            },
        }

    @property
    def environment(self) -> Mapping[str, str]:
        """Nothing is secret."""
        return {}

    async def keys(self) -> set[str]:
        """The files, whole or not; but for what a start rehearses, and leaves if it is killed."""
        files = (path.name for path in self.images.rglob("*") if path.is_file())
        skipped = (SELF_TEST_PREFIX, MARKER_NAME)
        return {f"{name[:2]}/{name}" for name in files if not name.startswith(skipped)}

    async def flip(self, key: str, offset: int) -> None:
        """Let a bit of this byte rot; done again, it is right again."""
        with (self.images / key).open("r+b") as file:
            file.seek(offset)
            (byte,) = file.read(1)
            file.seek(offset)
            file.write(bytes([byte ^ 1]))


@dataclass(frozen=True)
class ServersBackend:
    """PostgreSQL and S3: a database, and a folder of a bucket."""

    url: str
    endpoint: str
    prefix: str
    store: str = "cloud"

    @property
    def sections(self) -> Sections:
        """Where they are; parts are as small as can be, so that small images have several."""
        return {
            "catalog": {"url": self.url},
            "stores": {"default": self.store},
            f"stores.{self.store}": {
                "type": "s3",
                "endpoint": self.endpoint,
                "bucket": BUCKET,
                "prefix": self.prefix,
                "part_size": "5MiB",
            },
        }

    @property
    def environment(self) -> Mapping[str, str]:
        """The keys of the bucket."""
        name = f"IMAGED_STORES__{self.store.upper()}"
        return {f"{name}__ACCESS_KEY": ACCESS_KEY, f"{name}__SECRET_KEY": SECRET_KEY}

    async def keys(self) -> set[str]:
        """The objects, and the uploads that are not finished; but for rehearsed ones, likewise."""
        names = await asyncio.to_thread(self._names)
        keys = {name.removeprefix(f"{self.prefix}/") for name in names}
        return {key for key in keys if not key.startswith((SELF_TEST_FOLDER, MARKER_NAME))}

    async def flip(self, key: str, offset: int) -> None:
        """Let a bit of this byte rot, by an object that takes its place."""
        where = {"Bucket": BUCKET, "Key": f"{self.prefix}/{key}"}
        await asyncio.to_thread(self._flip, where, offset)

    def _flip(self, where: Mapping[str, str], offset: int) -> None:
        client = plain_client(self.endpoint)
        data = bytearray(client.get_object(**where)["Body"].read())
        data[offset] ^= 1
        client.put_object(**where, Body=bytes(data))
        client.close()

    def _names(self) -> set[str]:
        client, names = plain_client(self.endpoint), set[str]()
        for operation, table in (
            ("list_objects_v2", "Contents"),
            ("list_multipart_uploads", "Uploads"),
        ):
            for page in client.get_paginator(operation).paginate(
                Bucket=BUCKET, Prefix=f"{self.prefix}/"
            ):
                names |= {found["Key"] for found in page.get(table, [])}
        client.close()
        return names


@dataclass(frozen=True)
class TwoStoreBackend:
    """A second store, called ``other``, beside the default one."""

    first: FolderBackend | ServersBackend
    second: FolderBackend | ServersBackend

    @property
    def store(self) -> str:
        """The default store."""
        return self.first.store

    @property
    def sections(self) -> Sections:
        """Of both; the catalog is that of the first."""
        name = f"stores.{SECOND_STORE}"
        return {**self.first.sections, name: self.second.sections[name]}

    @property
    def environment(self) -> Mapping[str, str]:
        """Of both."""
        return {**self.first.environment, **self.second.environment}

    async def keys(self) -> set[str]:
        """The keys of all bytes in both."""
        return await self.first.keys() | await self.second.keys()


#: Where facts and bytes are.
Backend = FolderBackend | ServersBackend | TwoStoreBackend


def with_second_store(backend: FolderBackend | ServersBackend) -> TwoStoreBackend:
    """A second store of the same kind beside the first."""
    if isinstance(backend, FolderBackend):
        return TwoStoreBackend(backend, FolderBackend(backend.folder / SECOND_STORE, SECOND_STORE))
    return TwoStoreBackend(
        backend, replace(backend, prefix=f"{backend.prefix}-{SECOND_STORE}", store=SECOND_STORE)
    )


@asynccontextmanager
async def servers(endpoint: str) -> AsyncIterator[ServersBackend]:
    """A fresh database, and an unused folder of the bucket."""
    async with fresh_database() as url:
        yield ServersBackend(url, endpoint, uuid4().hex)
