"""The exam of stores and of exports, on S3 servers that operators of OpenStack have.

``make test-s3 URL=…`` sits it at any endpoint instead: the keys are in ``AWS_ACCESS_KEY_ID`` and
``AWS_SECRET_ACCESS_KEY``; the bucket, the region and the checksum in ``IMAGED_TEST_S3_BUCKET``,
``IMAGED_TEST_S3_REGION`` and ``IMAGED_TEST_S3_CHECKSUM``. All that it writes is below ``tests/``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import cast

import pytest

from contracts.export_s3 import BucketDestinationContract
from contracts.store_bucket import elsewhere_in, settings_for
from contracts.store_s3 import S3StoreContract
from imaged.core.secret import Secret
from imaged.stores.s3.settings import Checksum, S3Settings
from support.ceph import ceph
from support.seaweedfs import BUCKET
from support.swift import swift

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

URL = os.environ.get("IMAGED_TEST_S3_URL", "")
SERVERS = ["given"] if URL else ["ceph", "swift"]


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[S3Settings]:
    """A bucket of each."""
    match request.param:
        case "ceph":
            with ceph() as cluster:
                yield cluster.settings
        case "swift":
            with swift() as settings:
                yield settings
        case _:
            yield given_by_the_environment()


@pytest.fixture
def s3_settings(server: S3Settings) -> S3Settings:
    """A folder of its own for each test."""
    return elsewhere_in(server)


def given_by_the_environment() -> S3Settings:
    """The endpoint that ``make test-s3`` is given."""
    checksum = os.environ.get("IMAGED_TEST_S3_CHECKSUM", "crc32c")
    return settings_for(
        URL,
        access_key=Secret(os.environ["AWS_ACCESS_KEY_ID"]),
        secret_key=Secret(os.environ["AWS_SECRET_ACCESS_KEY"]),
        bucket=os.environ.get("IMAGED_TEST_S3_BUCKET", BUCKET),
        region=os.environ.get("IMAGED_TEST_S3_REGION", "us-east-1"),
        checksum=cast("Checksum", checksum),
    )


class TestStore(S3StoreContract):
    """Stores."""


class TestDestination(BucketDestinationContract):
    """Exports."""
