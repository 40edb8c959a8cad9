"""Other clients of S3, each in a process of its own: what imaged is compared with.

python -m bench.s3_clients boto3 put http://127.0.0.1:8333 FILE
"""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import msgspec

from bench.seaweedfs import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, s3_client
from bench.sizes import MIB

ROOT = Path(__file__).parents[1]
KEY = "of-another-client"
PART_BYTES = 8 * MIB  # as imaged's, and boto3's by default
AT_ONCE = 10  # boto3's default


class TransferCost(msgspec.Struct, frozen=True):
    """What one transfer took."""

    seconds: float
    cpu_seconds: float


async def transfer(client: str, call: str, endpoint: str, file: Path) -> TransferCost:
    """Let a client put or get a file. Raises ChildProcessError."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.s3_clients", client, call, endpoint, str(file),
        cwd=ROOT, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    if process.returncode:
        raise ChildProcessError(f"{client} cannot {call}:\n{errors.decode()[-2000:]}")
    return msgspec.json.decode(output, type=TransferCost)


class Boto3:
    """The transfer manager of boto3, with its defaults."""

    def __init__(self, endpoint: str) -> None:
        import boto3

        self._client = s3_client(boto3, endpoint)

    def put(self, file: Path) -> None:
        """Upload it in parts."""
        self._client.upload_file(str(file), BUCKET, KEY)

    def get(self, file: Path) -> None:
        """Download it by ranges."""
        self._client.download_file(BUCKET, KEY, str(file))

    def delete(self) -> None:
        """Have it gone."""
        self._client.delete_object(Bucket=BUCKET, Key=KEY)


class Obstore:
    """obstore, which is written in Rust."""

    def __init__(self, endpoint: str) -> None:
        from obstore.store import S3Store

        self._store: Any = S3Store(
            BUCKET,
            endpoint=endpoint,
            region=REGION,
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            client_options={"allow_http": True},
        )

    def put(self, file: Path) -> None:
        """Upload it in parts."""
        self._store.put(KEY, file, chunk_size=PART_BYTES, max_concurrency=AT_ONCE)

    def get(self, file: Path) -> None:
        """Download it by one request, which is how it streams."""
        with file.open("wb") as target:
            for chunk in self._store.get(KEY).stream(min_chunk_size=PART_BYTES):
                target.write(chunk)

    def delete(self) -> None:
        """Have it gone."""
        self._store.delete(KEY)


CLIENTS = {"boto3": Boto3, "obstore": Obstore}


def main(name: str, call: str, endpoint: str, file: str) -> None:
    """Make the call once, and print its cost as JSON."""
    client = CLIENTS[name](endpoint)
    cpu, began = time.process_time(), time.perf_counter()
    getattr(client, call)(*([Path(file)] if call != "delete" else []))
    spent = TransferCost(time.perf_counter() - began, time.process_time() - cpu)
    print(msgspec.json.encode(spent).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
