"""Exports to a bucket pass the contract on a real server."""

from __future__ import annotations

import pytest

from contracts.export_s3 import BucketDestinationContract
from contracts.store_bucket import settings_for
from imaged.stores.s3.settings import S3Settings
from support.seaweedfs import SeaweedFS


@pytest.fixture
def s3_settings(s3: SeaweedFS) -> S3Settings:
    """A folder of its own for each test."""
    return settings_for(s3.endpoint)


class TestBucketDestination(BucketDestinationContract):
    """The whole contract, on SeaweedFS."""
