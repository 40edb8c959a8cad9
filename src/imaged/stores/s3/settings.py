"""How a bucket is used, and with which credentials. Light to import: loads no library for S3.

The configuration reads credentials from files, the environment or systemd. Without any, the library
searches its own environment variables and files and asks for the role of the instance.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from imaged.core.limits import GIB, MIB
from imaged.core.retry_policy import RetryPolicy
from imaged.core.secret import Secret

#: The limits of S3 (Amazon S3 user guide, "multipart upload limits"); other services allow at least
#: as much.
MIN_PART_BYTES = 5 * MIB
MAX_PART_BYTES = 5 * GIB
MAX_BLOB_BYTES = 5 * 1024 * GIB
MAX_PARTS = 10_000

PAUSES = RetryPolicy(first_pause=timedelta(seconds=0.2), longest_pause=timedelta(seconds=5))
ABORT_PAUSES = RetryPolicy(first_pause=timedelta(seconds=0.2), longest_pause=timedelta(seconds=2))

Addressing = Literal["auto", "path", "virtual"]
Checksum = Literal["crc32c", "crc32", "md5", "none"]
CRCS: frozenset[Checksum] = frozenset({"crc32c", "crc32"})


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Tuning:
    """Limits of S3, and measured values that no operator has to change."""

    max_parts: int = MAX_PARTS
    planned_parts: int = MAX_PARTS - MAX_PARTS // 10  # if the size is known, which may be wrong
    growth_divisor: int = 1_250  # a part is at least this fraction of what was sent before
    copy_piece_bytes: int = 256 * MIB  # of a server-side copy
    read_ahead_bytes: int = 32 * MIB  # fetched before it is asked for, by all readers together
    list_page_size: int = 1000  # names in one answer; S3 allows no more
    pauses: RetryPolicy = PAUSES  # between the attempts of a call
    abort_pauses: RetryPolicy = ABORT_PAUSES  # between the rounds of aborts
    rollback_timeout: timedelta = timedelta(seconds=10)  # after that it goes on in the background


DEFAULT_TUNING = S3Tuning()


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Settings:
    """Endpoint, credentials and limits of a bucket. Raises ValueError."""

    bucket: str
    endpoint: str  # such as "https://s3.example.net"; empty: Amazon's, by region
    region: str
    prefix: str  # a folder in the bucket, so that the rest has other uses
    access_key: Secret | None  # neither key: the environment, or the role of the instance
    secret_key: Secret | None
    addressing: Addressing  # "auto": by path at an endpoint, by host name at Amazon's
    ca_file: Path | None  # CA of the endpoint, if the system does not know it
    #: Memory for parts is this times ``parts_in_flight``, and at least one part per upload.
    part_size_bytes: int
    parts_in_flight: int  # of all uploads together; each may always have one
    checksum: Checksum  # of each part, verified by the store; crc32c costs least
    connect_timeout: timedelta
    read_timeout: timedelta  # without a byte in either direction
    attempts: int  # of each call, with growing pauses in between
    retry_for: timedelta  # at least, while the server is unavailable
    tuning: S3Tuning = DEFAULT_TUNING

    def __post_init__(self) -> None:
        """Refuse invalid values. Errors repeat no value: a secret may be in the wrong place."""
        _require(bool(self.bucket), "bucket must have a name")
        _require((self.access_key is None) == (self.secret_key is None), "both keys or neither")
        _require_endpoint(self.endpoint)
        _require(
            MIN_PART_BYTES <= self.part_size_bytes <= MAX_PART_BYTES,
            "part_size must be between 5 MiB and 5 GiB: S3 allows no other",
        )
        _require(self.parts_in_flight > 0, "parts_in_flight must be at least 1")
        _require(self.attempts > 0, "attempts must be at least 1")
        _require(self.retry_for >= timedelta(0), "retry_for must be 0 or more")
        _require(self.connect_timeout > timedelta(0), "connect_timeout must be more than 0")
        _require(self.read_timeout > timedelta(0), "read_timeout must be more than 0")

    @property
    def root(self) -> str:
        """The prefix of the names of all objects of this store."""
        folder = self.prefix.strip("/")
        return f"{folder}/" if folder else ""

    @property
    def where(self) -> str:
        """The endpoint, for messages."""
        return self.endpoint or f"Amazon S3 in {self.region}"


def _require_endpoint(endpoint: str) -> None:
    if not endpoint:
        return
    url = urlsplit(endpoint)
    _require(
        url.scheme in {"http", "https"} and bool(url.hostname),
        "endpoint must be a URL that begins with https:// or http://",
    )
    _require("@" not in url.netloc, "endpoint must not carry credentials; set the keys instead")
    _require(not url.query and not url.fragment, "endpoint must end with its host, port or path")


def _require(is_so: bool, why: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not is_so:
        raise ValueError(why)
