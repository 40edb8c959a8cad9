"""Exports to a bucket pass the contract on a real server."""

from __future__ import annotations

import pytest

from contracts.export_s3 import BucketDestinationContract, opened
from contracts.store_bucket import settings_for
from imaged.core.errors import ExportError
from imaged.stores.s3.settings import S3Settings, S3Tuning
from support.fault_proxy import Fault, FaultProxy, fail
from support.seaweedfs import SeaweedFS
from support.waiting import SHORT_PAUSES


@pytest.fixture
def s3_settings(s3: SeaweedFS) -> S3Settings:
    """A folder of its own for each test."""
    return settings_for(s3.endpoint)


@pytest.mark.asyncio
async def test_a_full_bucket_is_told(s3: SeaweedFS) -> None:
    """Before an export is asked for, by health and check-config."""
    tuning = S3Tuning(pauses=SHORT_PAUSES, abort_pauses=SHORT_PAUSES)
    async with FaultProxy(s3.port).running() as proxy:
        proxy.plan = fail("put_object", 0, Fault.FULL, for_ever=True)
        async with opened(settings_for(proxy.endpoint, tuning=tuning)) as bucket:
            with pytest.raises(ExportError, match="raise its quota"):
                await bucket.check()


class TestBucketDestination(BucketDestinationContract):
    """The whole contract, on SeaweedFS."""
