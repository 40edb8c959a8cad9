"""The S3 store on a second server: it must not depend on one implementation."""

from __future__ import annotations

import asyncio

import pytest

from contracts.store_backdoors import StoreBackdoor
from contracts.store_bodies import body, new_key, some_bytes
from contracts.store_bucket import OnBucket, settings_for
from contracts.store_deleting import DeletingContract
from contracts.store_listing import ListingContract
from contracts.store_reading import ReadingContract
from contracts.store_writing import WritingContract
from imaged.core.limits import MIB
from imaged.ports.store import Store
from imaged.stores.s3.settings import S3Settings


class OnMoto(OnBucket):
    """A store on this server."""

    @pytest.fixture
    def s3_settings(self, moto: str) -> S3Settings:
        """A folder of its own for each test."""
        return settings_for(moto)


class TestS3StoreOnMoto(OnMoto, WritingContract):
    """All that is written: servers differ in what they answer to that."""

    pytestmark = pytest.mark.asyncio

    async def test_one_of_two_writers_of_a_key_wins(
        self, store: Store, door: StoreBackdoor
    ) -> None:
        """Without conditions for completions, the last writer wins, with a complete blob."""
        key, datas = new_key(), [some_bytes(2 * MIB), some_bytes(2 * MIB + 1)]

        await asyncio.gather(
            *[store.put(key, body(data)) for data in datas], return_exceptions=True
        )

        assert await door.read_raw(key) in datas


@pytest.mark.nightly
class TestMoreOnMoto(OnMoto, ReadingContract, ListingContract, DeletingContract):
    """All that is read, listed and deleted; `make test-all` has another server for it."""

    pytestmark = pytest.mark.asyncio
