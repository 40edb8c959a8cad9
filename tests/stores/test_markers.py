"""Folders and buckets pass the contract of places with a marker."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from contracts.export_s3 import opened as opened_bucket
from contracts.marker import MarkedPlaceContract, PlacedStore, a_marker
from contracts.store_bodies import all_keys, body, new_key
from contracts.store_bucket import BucketBackdoor, OnBucket, opened, settings_for
from contracts.store_faulty_disks import TracedDisk, WatchedDisk
from contracts.store_folder import FolderBackdoor, store_on
from imaged.core.errors import StoreError, WrongPlace
from imaged.core.place_marker import MARKER_NAME, PlaceKind, write_marker_text
from imaged.exports.filesystem import FilesystemExport
from imaged.ports.export import Destination
from imaged.ports.place import MarkedPlace
from imaged.stores.filesystem.settings import FilesystemSettings
from imaged.stores.filesystem.store import FilesystemStore
from imaged.stores.s3.settings import S3Settings
from imaged.stores.s3.store import S3Store
from support.seaweedfs import SeaweedFS, plain_client
from support.settings import configured

WHOLE = "whole"  # a bucket for stores without a prefix


@pytest.fixture(scope="session")
def server(s3: SeaweedFS) -> SeaweedFS:
    """A real S3 server that has an empty bucket as well."""
    plain_client(s3.endpoint).create_bucket(Bucket=WHOLE)
    return s3


class FileBackdoor(FolderBackdoor):
    """Files of a folder, as an operator sees them."""

    async def plant(self, key: str, data: bytes) -> None:
        """Put a file in the place of another one."""
        new = self.root.parent / uuid4().hex
        new.write_bytes(data)
        new.replace(self.root / key)

    async def remove(self, key: str) -> None:
        """A file is removed."""
        (self.root / key).unlink(missing_ok=True)


class ObjectBackdoor(BucketBackdoor):
    """Objects of a bucket, as an operator sees them."""

    async def remove(self, key: str) -> None:
        """An object is removed."""
        await self.call("delete_object", key)


class UnmountedDisk(WatchedDisk):
    """A disk that is replaced by another one at the next removal of a file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.is_next = False

    def _watched(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name == "unlink" and self.is_next:
            self.is_next = False
            (self.root / MARKER_NAME).write_bytes(write_marker_text(a_marker("local")))
        return call(*args, **named)


class TestMarkedFolder(MarkedPlaceContract):
    """On a disk."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        """An empty folder."""
        (tmp_path / "store").mkdir()
        return tmp_path / "store"

    @pytest_asyncio.fixture
    async def store(self, root: Path) -> FilesystemStore:
        """A store in it."""
        store = store_on(root)
        await store.check()
        return store

    @pytest.fixture
    def beside(self, root: Path) -> FilesystemStore:
        """Another process."""
        return store_on(root)

    @pytest.fixture
    def door(self, root: Path) -> FileBackdoor:
        """A back door."""
        return FileBackdoor(root)

    async def forget(self, store: PlacedStore) -> None:
        """Remove the file."""
        await FileBackdoor(Path(store.place.where)).remove(MARKER_NAME)

    async def test_nothing_else_is_left(self, store: FilesystemStore, root: Path) -> None:
        """Writing a marker, once, twice, and with replacement, leaves no other file."""
        before = names_in(root)
        for is_on_purpose in (False, False, True):
            await store.place.write_marker(a_marker("local"), replace=is_on_purpose)

        assert names_in(root) == {*before, MARKER_NAME}

    async def test_another_disk_is_noticed_at_once(
        self, store: FilesystemStore, door: FileBackdoor
    ) -> None:
        """Also by a store that has just been used, and in the middle of a listing."""
        await store.put(kept := new_key(), body(b"bytes"))
        store.place.expect(await store.place.write_marker(a_marker("local")))
        keys = store.list_keys()
        assert await anext(keys) == kept

        await door.plant(MARKER_NAME, write_marker_text(a_marker("local")))

        for refused in (anext(keys), store.put(new_key(), body(b"more"))):
            with pytest.raises(WrongPlace):
                await refused

    async def test_a_disk_that_is_unmounted_during_a_batch(self, root: Path) -> None:
        """What is missing in the folder below it is not gone."""
        disk = UnmountedDisk(root)
        store = store_on(root, disk)
        await store.check()
        store.place.expect(await store.place.write_marker(a_marker("local")))
        keys = [new_key(), new_key()]
        disk.is_next = True

        with pytest.raises(WrongPlace):
            await store.delete_batch(keys)

    async def test_a_marker_is_durable(self, root: Path) -> None:
        """Its bytes before it gets its name, and the name before it counts."""
        disk = TracedDisk()

        await store_on(root, disk).place.write_marker(a_marker("local"))

        calls = [call.name for call in disk.trace if call.name in {"writev", "fsync", "rename"}]
        assert calls == ["writev", "fsync", "rename", "fsync"]

    async def test_a_writer_that_was_killed_leaves_no_marker(
        self, store: FilesystemStore, root: Path
    ) -> None:
        """What it leaves is no blob either, and prevents nothing."""
        (root / f"{MARKER_NAME}.{uuid4().hex}").write_bytes(b"{")

        assert await store.place.read_marker() is None
        assert await all_keys(store) == []
        await store.place.write_marker(marker := a_marker("local"))
        assert await store.place.read_marker() == marker

    @pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
    async def test_a_marker_must_be_a_regular_file(
        self, store: FilesystemStore, root: Path, kind: str
    ) -> None:
        """It is no reason to wait, or to follow a link."""
        path, elsewhere = root / MARKER_NAME, root.parent / "elsewhere"
        match kind:
            case "folder":
                path.mkdir()
            case "pipe":
                os.mkfifo(path)
            case _:
                path.symlink_to(elsewhere)

        with pytest.raises(StoreError, match=MARKER_NAME):
            await store.place.read_marker()
        with pytest.raises(StoreError, match=MARKER_NAME):
            await store.place.write_marker(a_marker("local"))

        assert not elsewhere.exists()

    async def test_a_folder_that_is_missing_is_no_empty_place(self, tmp_path: Path) -> None:
        """It is neither created nor reported to be without a marker."""
        away = store_on(tmp_path / "away")

        for call in (away.place.read_marker(), away.place.write_marker(a_marker("away"))):
            with pytest.raises(StoreError, match="away"):
                await call

        assert not (tmp_path / "away").exists()

    async def test_an_export_destination_sweeps_none(self, root: Path) -> None:
        """The cleanup of exports does not remove the marker."""
        destination = FilesystemExport(
            "archive", configured(FilesystemSettings, path=root, min_free_bytes=0)
        )
        await require_never_swept(destination, destination.place)


def names_in(folder: Path) -> set[str]:
    """All file names."""
    return {path.name for path in folder.iterdir()}


async def require_never_swept(destination: Destination, place: MarkedPlace) -> None:
    """The marker survives every cleanup."""
    marker = a_marker("archive", kind=PlaceKind.EXPORTS)
    await place.write_marker(marker)

    assert await destination.leftovers() == set()
    await destination.remove(str(uuid4()))

    assert await place.read_marker() == marker


class MarkedBucketContract(OnBucket, MarkedPlaceContract):
    """A suite provides ``endpoint``."""

    @pytest.fixture(params=["prefix", "no prefix"])
    def s3_settings(self, endpoint: str, request: pytest.FixtureRequest) -> Iterator[S3Settings]:
        """A folder of a bucket, or a whole bucket, emptied at the end."""
        if request.param == "prefix":
            yield settings_for(endpoint)
            return
        yield replace(settings_for(endpoint), bucket=WHOLE, prefix="")
        client = plain_client(endpoint)
        for entry in client.list_objects_v2(Bucket=WHOLE).get("Contents", []):
            client.delete_object(Bucket=WHOLE, Key=entry["Key"])

    @pytest_asyncio.fixture
    async def beside(self, s3_settings: S3Settings) -> AsyncIterator[S3Store]:
        """Another process."""
        async with opened(s3_settings) as store:
            yield store

    @pytest.fixture
    def door(self, s3_settings: S3Settings) -> ObjectBackdoor:
        """A back door."""
        return ObjectBackdoor(s3_settings)

    async def forget(self, store: PlacedStore) -> None:
        """Remove the object."""
        assert isinstance(store, S3Store)
        await ObjectBackdoor(store._client.settings).remove(MARKER_NAME)

    async def test_a_marker_is_read_again(
        self, store: S3Store, door: ObjectBackdoor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When the last reading is too old: another catalog may have adopted the bucket."""
        monkeypatch.setattr("imaged.stores.s3.marker.MARKER_CACHE_SECONDS", 0.0)
        await store.put(kept := new_key(), body(b"bytes"))
        store.place.expect(await store.place.write_marker(a_marker("local")))
        await store.place.require_expected()

        await door.plant(MARKER_NAME, write_marker_text(a_marker("local")))

        for refused in (
            store.put(new_key(), body(b"more")),
            store.copy_from(store, kept, new_key()),
        ):
            with pytest.raises(WrongPlace):
                await refused

    async def test_a_service_without_conditions(self, store: S3Store, beside: S3Store) -> None:
        """On such a service, too, an existing marker is not overwritten."""
        first = await store.place.write_marker(a_marker("local"))
        beside._client.supports_conditional_writes = False

        assert await beside.place.write_marker(a_marker("local")) == first

    async def test_stores_of_one_bucket_have_markers_of_their_own(
        self, store: S3Store, s3_settings: S3Settings
    ) -> None:
        """Also if one prefix is below the other: the prefix identifies the place."""
        inner = replace(s3_settings, prefix=f"{s3_settings.prefix}/inner".strip("/"))
        async with opened(inner, "inner") as other:
            await store.place.write_marker(marker := a_marker("local"))

            assert await other.place.read_marker() is None
            await other.place.write_marker(another := a_marker("inner"))

            assert await store.place.read_marker() == marker
            assert await other.place.read_marker() == another
            assert await all_keys(store) == await all_keys(other) == []

    async def test_a_bucket_that_is_missing_is_no_empty_place(
        self, s3_settings: S3Settings
    ) -> None:
        """It is not reported to be without a marker."""
        async with opened(replace(s3_settings, bucket="imaged-missing")) as away:
            with pytest.raises(StoreError, match="imaged-missing"):
                await away.place.read_marker()

    async def test_an_export_destination_sweeps_none(self, s3_settings: S3Settings) -> None:
        """The cleanup of exports does not remove the marker."""
        async with opened_bucket(s3_settings) as destination:
            await require_never_swept(destination, destination.place)


class TestMarkedBucketOnSeaweedFS(MarkedBucketContract):
    """A server in a process of its own."""

    @pytest.fixture
    def endpoint(self, server: SeaweedFS) -> str:
        """Its endpoint."""
        return server.endpoint


@pytest.mark.nightly
class TestMarkedBucketOnMoto(MarkedBucketContract):
    """A second server."""

    @pytest.fixture
    def endpoint(self, moto: str) -> str:
        """Its endpoint, with that bucket too."""
        plain_client(moto).create_bucket(Bucket=WHOLE)
        return moto
