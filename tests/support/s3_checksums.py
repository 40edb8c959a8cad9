"""What an S3 server does with the checksums of what it is sent, and what the page says of it."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from botocore.exceptions import ClientError
from crc32c import crc32c

PAGE = Path(__file__).parents[2] / "docs/how-to/use-s3.md"
DATA = b"imaged was here"
OTHER_DATA = b"imaged was there"
CRC64NVME_POLYNOMIAL = 0x9A6C9329AC4BC9B5  # reflected; NVM Express, "CRC-64/NVME"
REFUSED_STATUS = 400


def crc64nvme(data: bytes) -> bytes:
    """The checksum of a few bytes, bit by bit."""
    value = mask = (1 << 64) - 1
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (CRC64NVME_POLYNOMIAL if value & 1 else 0)
    return (value ^ mask).to_bytes(8, "big")


#: By the name on the page: the parameter of a call, and how its value is computed.
CHECKSUMS: Mapping[str, tuple[str, Callable[[bytes], bytes]]] = {
    "CRC-32C": ("ChecksumCRC32C", lambda data: crc32c(data).to_bytes(4, "big")),
    "CRC32": ("ChecksumCRC32", lambda data: zlib.crc32(data).to_bytes(4, "big")),
    "CRC64NVME": ("ChecksumCRC64NVME", crc64nvme),
    "SHA-1": ("ChecksumSHA1", lambda data: hashlib.sha1(data, usedforsecurity=False).digest()),
    "SHA-256": ("ChecksumSHA256", lambda data: hashlib.sha256(data).digest()),
    "Content-MD5": ("ContentMD5", lambda data: hashlib.md5(data, usedforsecurity=False).digest()),
}


def stated_for(server: str) -> dict[str, str]:
    """What the page says of a server: by checksum, "compares", "ignores" or "refuses"."""
    lines = iter(PAGE.read_text().splitlines())
    head = next(line for line in lines if line.startswith("| checksums |"))
    row = next(line for line in lines if line.startswith(f"| {server}"))
    return dict(list(zip(_cells(head), _cells(row), strict=True))[1:])


def observed_at(client: Any, bucket: str) -> dict[str, str]:
    """What a server does, with objects that are put and with parts alike."""
    return {name: " and ".join(sorted(set(_outcomes(client, bucket, name)))) for name in CHECKSUMS}


def _outcomes(client: Any, bucket: str, name: str) -> Iterator[str]:
    parameter, compute = CHECKSUMS[name]
    right, wrong = ({parameter: _text(compute(data))} for data in (DATA, OTHER_DATA))
    where = {"Bucket": bucket, "Key": f"tests/{uuid4().hex}", "Body": DATA}
    yield _outcome(client.put_object, where, right, wrong)
    client.delete_object(Bucket=bucket, Key=where["Key"])

    algorithm = parameter.removeprefix("Checksum")
    kind = {"ChecksumAlgorithm": algorithm} if algorithm != parameter else {}
    begun = {name: where[name] for name in ("Bucket", "Key")}
    upload = {"UploadId": client.create_multipart_upload(**begun, **kind)["UploadId"]}
    yield _outcome(client.upload_part, {**where, **upload, "PartNumber": 1}, right, wrong)
    client.abort_multipart_upload(**begun, **upload)


def _outcome(
    call: Callable[..., Any],
    where: Mapping[str, Any],
    right: Mapping[str, str],
    wrong: Mapping[str, str],
) -> str:
    if not _is_accepted(call, {**where, **right}):
        return "refuses"
    return "ignores" if _is_accepted(call, {**where, **wrong}) else "compares"


def _is_accepted(call: Callable[..., Any], parameters: Mapping[str, Any]) -> bool:
    try:
        call(**parameters)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != REFUSED_STATUS:
            raise
        return False
    return True


def _text(checksum: bytes) -> str:
    return base64.b64encode(checksum).decode()


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
