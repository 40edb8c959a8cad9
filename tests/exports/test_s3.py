"""Exports to a bucket pass the contract on a real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contracts.export_s3 import BucketDestinationContract
from contracts.store_bucket import settings_for
from imaged.stores.s3.settings import S3Settings
from support.seaweedfs import SeaweedFS, seaweedfs


@pytest.fixture(scope="module")
def server() -> Iterator[SeaweedFS]:
    """A real S3 server with an empty bucket."""
    with seaweedfs() as server:
        yield server


@pytest.fixture
def s3_settings(server: SeaweedFS) -> S3Settings:
    """A folder of its own for each test."""
    return settings_for(server.endpoint)


class TestBucketDestination(BucketDestinationContract):
    """The whole contract, on SeaweedFS."""
