"""A real S3 server for the measures of buckets: SeaweedFS, on loopback, in a folder."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from bench.programs import reserve_port

WEED = Path(sys.executable).with_name("weed")
SOCKETS = Path("/tmp")  # noqa: S108 - where SeaweedFS makes them
START_TIMEOUT_SECONDS = 180  # of a busy machine
ASKED_EVERY_SECONDS = 0.2
WARM_UP_OBJECTS = 8  # a server that has just begun has no volumes yet, and answers 500
BUCKET = "images"
REGION = "us-east-1"
ACCESS_KEY, SECRET_KEY = "bench-access", "bench-secret"


@dataclass(frozen=True, slots=True)
class Bucket:
    """An empty bucket. ``folder``: has a file for each key."""

    endpoint: str
    folder: Path

    @property
    def store(self) -> str:
        """The section of a store of imaged in it."""
        return f"""
        type = "s3"
        endpoint = "{self.endpoint}"
        bucket = "{BUCKET}"
        region = "{REGION}"
        access_key_file = "{self.folder / "access"}"
        secret_key_file = "{self.folder / "secret"}"
        """


@asynccontextmanager
async def seaweedfs(folder: Path) -> AsyncIterator[Bucket]:
    """Run a server with an empty bucket; nothing of it is left. Raises ChildProcessError."""
    ports = [reserve_port() for _ in range(8)]
    command = _prepare(folder, ports)
    bucket = Bucket(f"http://127.0.0.1:{ports[6]}", folder)
    log = folder / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, stdin=DEVNULL, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not await asyncio.to_thread(_is_ready, bucket.endpoint):
            if process.returncode is not None or time.monotonic() > deadline:
                raise ChildProcessError(f"SeaweedFS does not serve:\n{log.read_text()[-4000:]}")
            await asyncio.sleep(ASKED_EVERY_SECONDS)
        yield bucket
    finally:
        if process.returncode is None:
            process.kill()  # it takes much longer to stop by itself
        await process.wait()
        await asyncio.to_thread(_remove, folder, ports)


def s3_client(library: Any, endpoint: str) -> Any:
    """A client of ``library``, which is boto3 or a session of botocore."""
    make = getattr(library, "client", None) or library.create_client
    return make(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(s3={"addressing_style": "path"}),
    )


def _prepare(folder: Path, ports: list[int]) -> list[str]:
    """Make its folder; returns its command."""
    folder.mkdir()
    (folder / "access").write_text(ACCESS_KEY)
    (folder / "secret").write_text(SECRET_KEY)
    for key in ("access", "secret"):
        (folder / key).chmod(0o600)
    data, identities = folder / "data", folder / "identities.json"
    data.mkdir()
    keys = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
    rights = ["Admin", "Read", "Write", "List", "Tagging"]
    known = {"name": "bench", "credentials": [keys], "actions": rights}
    identities.write_text(json.dumps({"identities": [known]}))
    return server_command(data, identities, ports)


def server_command(data: Path, identities: Path, ports: Sequence[int]) -> list[str]:
    """The command of a server on eight ports; the seventh speaks S3.

    Its working directory gets its sockets, whose addresses are to be short.
    """
    options = {
        "dir": data,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.port": ports[0],
        "master.port.grpc": ports[1],
        "master.volumeSizeLimitMB": 1024,
        "master.volumePreallocate": "false",
        "master.telemetry": "false",
        "volume.port": ports[2],
        "volume.port.grpc": ports[3],
        "volume.max": 40,
        "filer": "true",
        "filer.port": ports[4],
        "filer.port.grpc": ports[5],
        "filer.localSocket": "filer.sock",
        "s3": "true",
        "s3.port": ports[6],
        "s3.port.grpc": ports[7],
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.config": identities,
        "s3.iam": "false",
        "s3.localSocket": "s3.sock",
    }
    return [str(WEED), "server", *(f"-{name}={value}" for name, value in options.items())]


def _remove(folder: Path, ports: list[int]) -> None:
    shutil.rmtree(folder)
    for port in ports:
        for socket in SOCKETS.glob(f"seaweedfs-*-grpc-{port}.sock"):
            socket.unlink()


def _is_ready(endpoint: str) -> bool:
    client = s3_client(Session(), endpoint)
    try:
        try:
            client.head_bucket(Bucket=BUCKET)
        except ClientError:
            client.create_bucket(Bucket=BUCKET)
        for number in range(WARM_UP_OBJECTS):
            client.put_object(Bucket=BUCKET, Key=f"warm-up-{number}", Body=bytes(1 << 20))
            client.delete_object(Bucket=BUCKET, Key=f"warm-up-{number}")
    except (BotoCoreError, ClientError):
        return False
    return True
