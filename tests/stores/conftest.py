"""Places for the tests of stores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from contracts.store_bucket import settings_for
from contracts.store_folder import audited
from imaged.stores.s3.settings import S3Settings
from support.fault_proxy import FaultProxy
from support.seaweedfs import BUCKET, SeaweedFS, plain_client


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """An empty folder, audited at the end."""
    with audited(tmp_path / "store") as root:
        yield root


@pytest.fixture
def s3_settings(s3: SeaweedFS) -> S3Settings:
    """A folder of its own for each test."""
    return settings_for(s3.endpoint)


@pytest_asyncio.fixture
async def proxy(s3: SeaweedFS) -> AsyncIterator[FaultProxy]:
    """A proxy in front of the server that sees every call."""
    async with FaultProxy(s3.port).running() as proxy:
        yield proxy


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The endpoint of a second server, which keeps everything in memory, in a thread."""
    from moto.server import ThreadedMotoServer  # half a second, for two files

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    plain_client(f"http://{host}:{port}").create_bucket(Bucket=BUCKET)
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()
