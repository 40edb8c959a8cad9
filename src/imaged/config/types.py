"""Types of settings; each refusal says what is allowed."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from imaged.config.addresses import parse_address, parse_metrics_address
from imaged.core.digests import is_supported_algorithm
from imaged.server.settings import Address
from imaged.units import format_duration, format_size, parse_duration, parse_size

T = TypeVar("T")

_STORE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)


def is_store_name(name: str) -> bool:
    """Whether a store may have this name; it is used in the catalog and in links."""
    return _STORE_NAME.fullmatch(name) is not None


def _parse_file_mode(text: object) -> int:
    if not isinstance(text, str) or not re.fullmatch(r"0[0-7]{3}", text, re.ASCII):
        raise ValueError('must be permissions in octal digits such as "0600" or "0640"')
    mode = int(text, 8)
    if mode & 0o600 != 0o600:  # noqa: PLR2004 - rw for the owner
        raise ValueError("must let the owner read and write")
    return mode


def _parse_folder_path(text: object) -> Path:
    if not isinstance(text, str) or not text:
        raise ValueError("must be the path of a folder")
    return Path(text)


def _require_not_empty(values: tuple[T, ...]) -> tuple[T, ...]:
    if not values:
        raise ValueError("must not be empty")
    return values


def _check_catalog_url(url: str) -> str:
    file = url.removeprefix("sqlite:///")
    is_file = file not in {url, ""} and not file.startswith(":")
    if not is_file and not _names_database(url):
        raise ValueError(
            'must be "sqlite:////absolute/path/of/a/file" or "postgresql://user@host/database"'
        )
    return url


def _names_database(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"} or parts.fragment:
        return False
    return bool(parts.path.strip("/"))


def _check_public_url(url: str) -> str:
    parts = urlsplit(url)
    if url and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.query):
        raise ValueError('must be "" or begin with "http://" or "https://" and a host')
    return url.rstrip("/")


def _check_hash_algorithm(name: str) -> str:
    if not is_supported_algorithm(name):
        raise ValueError('must be a digest that Python has on this machine, such as "sha512"')
    return name


def _parse_limit(text: object) -> tuple[str, int]:
    found = re.fullmatch(r"([a-z0-9_-]+) *= *([0-9]{1,3})", text) if isinstance(text, str) else None
    if found is None or int(found[2]) == 0:
        raise ValueError('must be a type of tasks and a number, such as "convert=2"')
    return found[1], int(found[2])


def _format_limit(limit: tuple[str, int]) -> str:
    return f"{limit[0]}={limit[1]}"


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration)]
Size = Annotated[int, BeforeValidator(parse_size), PlainSerializer(format_size)]
FileMode = Annotated[int, BeforeValidator(_parse_file_mode), PlainSerializer("{:04o}".format)]
FolderPath = Annotated[Path, BeforeValidator(_parse_folder_path), PlainSerializer(str)]
Concurrency = Annotated[int, Field(ge=1, le=256)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveInt = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
BindAddress = Annotated[Address, BeforeValidator(parse_address), PlainSerializer(str)]
MetricsAddress = Annotated[
    Address | str, BeforeValidator(parse_metrics_address), PlainSerializer(str)
]
CatalogUrl = Annotated[str, AfterValidator(_check_catalog_url)]
PublicUrl = Annotated[str, AfterValidator(_check_public_url)]
HashAlgorithm = Annotated[str, AfterValidator(_check_hash_algorithm)]
NonEmptyTuple = Annotated[tuple[T, ...], Field(strict=False), AfterValidator(_require_not_empty)]
PlainTuple = Annotated[tuple[T, ...], Field(strict=False)]
TypeLimit = Annotated[
    tuple[str, int], BeforeValidator(_parse_limit), PlainSerializer(_format_limit)
]
TypeLimits = Annotated[tuple[TypeLimit, ...], Field(strict=False)]
