"""Types of settings of buckets; each refusal says what is allowed."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SecretStr

from imaged.stores.s3.settings import MAX_PART_BYTES, MIN_PART_BYTES
from imaged.units import format_duration, format_size, parse_duration, parse_size

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]", re.ASCII)
_PREFIX = re.compile(r"(?:[A-Za-z0-9!_.*'()-]+/)*[A-Za-z0-9!_.*'()-]*", re.ASCII)


def _check_endpoint(url: str) -> str:
    if not url:
        return url
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname)
        is_bare = not parts.username and not parts.password
        is_bare = is_bare and not parts.query and not parts.fragment and parts.port != 0
    except ValueError:  # an invalid port or address
        is_good = is_bare = False
    if not is_good or not is_bare:
        raise ValueError(
            'must be "" or begin with "http://" or "https://" and a host; keys must not be in it'
        )
    return url.rstrip("/")


def _check_bucket(name: str) -> str:
    if _BUCKET.fullmatch(name) is None:
        raise ValueError('must be the name of a bucket: letters, digits, ".", "_" and "-"')
    return name


def _check_prefix(prefix: str) -> str:
    """The prefix without a slash at its end, which makes no difference."""
    prefix = prefix.rstrip("/")
    if _PREFIX.fullmatch(prefix) is None or {".", ".."} & set(prefix.split("/")):
        raise ValueError('must be "" or names with / between them, such as "images" or "a/b"')
    return prefix


def _check_part_size(size_bytes: int) -> int:
    if not MIN_PART_BYTES <= size_bytes <= MAX_PART_BYTES:
        raise ValueError("must be between 5MiB and 5GiB: S3 allows no other")
    return size_bytes


def _check_positive(duration: timedelta) -> timedelta:
    if not duration:
        raise ValueError("must be more than 0")
    return duration


Endpoint = Annotated[str, AfterValidator(_check_endpoint)]
BucketName = Annotated[str, AfterValidator(_check_bucket)]
KeyPrefix = Annotated[str, AfterValidator(_check_prefix)]
PartSize = Annotated[
    int,
    BeforeValidator(parse_size),
    AfterValidator(_check_part_size),
    PlainSerializer(format_size),
]
PositiveDuration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    AfterValidator(_check_positive),
    PlainSerializer(format_duration),
]
SecretText = Annotated[SecretStr, Field(min_length=1)]
AttemptCount = Annotated[int, Field(ge=1, le=20)]
