"""The S3 store passes the contract on a real server."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest
from hypothesis import settings

from contracts.store_backdoors import StoreBackdoor
from contracts.store_bucket import BucketBackdoor, settings_for
from contracts.store_s3 import S3StoreContract
from contracts.store_state_machine import StoreMachine, machine_settings
from imaged.ports.store import Store
from imaged.stores.s3.store import S3Store
from support.seaweedfs import SeaweedFS


class TestS3Store(S3StoreContract):
    """The whole contract, on SeaweedFS."""


class S3StoreMachine(StoreMachine):
    """Any order of operations."""

    server: ClassVar[SeaweedFS]

    async def make(self) -> tuple[Store, StoreBackdoor]:
        """A fresh folder in the bucket."""
        changed = settings_for(self.server.endpoint)
        self.bucket_store = S3Store("local", changed)
        return self.bucket_store, BucketBackdoor(changed)

    def teardown(self) -> None:
        """The store is closed when no write is open any more."""
        if hasattr(self, "bucket_store"):
            self.runner.run(self._end())
        super().teardown()

    async def _end(self) -> None:
        writes = asyncio.all_tasks() - {asyncio.current_task()}
        for write in writes:
            write.cancel()
        await asyncio.gather(*writes, return_exceptions=True)
        await self.bucket_store.close()


@pytest.fixture(scope="module", autouse=True)
def _server_of_the_machine(s3: SeaweedFS) -> None:
    S3StoreMachine.server = s3


TestS3StoreMachine = S3StoreMachine.TestCase
TestS3StoreMachine.settings = settings(machine_settings, max_examples=6)
