"""Types of settings; each refusal says what is allowed."""

from __future__ import annotations

import re
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SecretStr

from imaged.config.urls import WRONG_PORT
from imaged.core.digests import is_supported_algorithm
from imaged.server.settings import Address, TcpAddress, UnixAddress
from imaged.stores.s3.settings import MAX_PART_BYTES, MIN_PART_BYTES
from imaged.units import format_duration, format_size, parse_duration, parse_size

T = TypeVar("T")

#: In metrics.bind: the addresses of api.bind.
API_ADDRESSES = "api"

_TCP_ADDRESS = re.compile(
    r"(?:\[(?P<v6>[0-9a-fA-F:.%\w]+)\]|(?P<host>[^\s:\[\]/]+)):(?P<port>\d+)", re.ASCII
)
_MAX_PORT = 65_535

_FORMAT_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_STORE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]", re.ASCII)
_PREFIX = re.compile(r"(?:[A-Za-z0-9!_.*'()-]+/)*[A-Za-z0-9!_.*'()-]*", re.ASCII)


class WrongSetting(ValueError):
    """A setting that conflicts with another one of its section. ``why`` says what is allowed."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(f"{key} {why}")
        self.key = key
        self.why = why


def _require_not_empty(values: tuple[T, ...]) -> tuple[T, ...]:
    if not values:
        raise ValueError("must not be empty")
    return values


def _check_positive(duration: timedelta) -> timedelta:
    if not duration:
        raise ValueError("must be more than 0")
    return duration


def _check_format_name(name: str) -> str:
    if _FORMAT_NAME.fullmatch(name) is None:
        raise ValueError('must be names of formats, in small letters, such as "qcow2"')
    return name


def _check_hash_algorithm(name: str) -> str:
    if not is_supported_algorithm(name):
        raise ValueError('must be a digest that Python has on this machine, such as "sha512"')
    return name


AUTOMATIC = 0  # processes: as many as there are processors
MOST_PROCESSES = 64

Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration)]
PositiveDuration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    AfterValidator(_check_positive),
    PlainSerializer(format_duration),
]
Size = Annotated[int, BeforeValidator(parse_size), PlainSerializer(format_size)]
Concurrency = Annotated[int, Field(ge=1, le=256)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveInt = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
FormatName = Annotated[str, AfterValidator(_check_format_name)]
HashAlgorithm = Annotated[str, AfterValidator(_check_hash_algorithm)]
SecretText = Annotated[SecretStr, Field(min_length=1)]
NonEmptyTuple = Annotated[tuple[T, ...], Field(strict=False), AfterValidator(_require_not_empty)]
PlainTuple = Annotated[tuple[T, ...], Field(strict=False)]


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


def _parse_optional_folder_path(text: object) -> Path | None:
    return None if text == "" else _parse_folder_path(text)


FileMode = Annotated[int, BeforeValidator(_parse_file_mode), PlainSerializer("{:04o}".format)]
FolderPath = Annotated[Path, BeforeValidator(_parse_folder_path), PlainSerializer(str)]
OptionalFolderPath = Annotated[
    Path | None,
    BeforeValidator(_parse_optional_folder_path),
    PlainSerializer(lambda path: "" if path is None else str(path)),
]


def parse_address(text: object) -> Address:
    """Return the address; ValueError names the allowed forms."""
    if isinstance(text, str) and text.startswith("unix:/"):
        return UnixAddress(Path(text.removeprefix("unix:")))
    found = _TCP_ADDRESS.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(
            'must be "host:port" (1 to 65535), "[IPv6 address]:port" or "unix:/path/of/a/socket"'
        )
    if int(found["port"]) > _MAX_PORT:
        raise ValueError(WRONG_PORT)
    return TcpAddress(found["v6"] or found["host"], int(found["port"]))


def parse_process_count(given: object) -> int:
    """Parse a number of processes; AUTOMATIC for "auto". A variable gives the number as text."""
    if given == "auto":
        return AUTOMATIC
    is_text = isinstance(given, str) and re.fullmatch(r"[0-9]{1,9}", given, re.ASCII)
    number = int(given) if isinstance(given, str) and is_text else given
    if type(number) is not int or not 1 <= number <= MOST_PROCESSES:
        raise ValueError(f'must be "auto", or a number from 1 to {MOST_PROCESSES}')
    return number


def _format_process_count(number: int) -> int | str:
    return "auto" if number == AUTOMATIC else number


ProcessCount = Annotated[
    int, BeforeValidator(parse_process_count), PlainSerializer(_format_process_count)
]


def is_fixed(address: Address | str) -> bool:
    """Whether only one listener can have it: the system chooses another port 0 each time."""
    return not isinstance(address, TcpAddress) or address.port != 0


def parse_metrics_address(text: object) -> Address | str:
    """Return the address, or "api"; ValueError names the allowed forms."""
    if text == API_ADDRESSES:
        return API_ADDRESSES
    try:
        return parse_address(text)
    except ValueError as error:
        raise ValueError(f'{error}, or "api"') from None


BindAddress = Annotated[Address, BeforeValidator(parse_address), PlainSerializer(str)]
MetricsAddress = Annotated[
    Address | str, BeforeValidator(parse_metrics_address), PlainSerializer(str)
]


def is_store_name(name: str) -> bool:
    """Whether a store may have this name; it is used in the catalog and in links."""
    return _STORE_NAME.fullmatch(name) is not None


def _check_bucket(name: str) -> str:
    if _BUCKET.fullmatch(name) is None:
        raise ValueError('must be a name of 3 to 255 letters, digits, ".", "_" and "-"')
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


BucketName = Annotated[str, AfterValidator(_check_bucket)]
KeyPrefix = Annotated[str, AfterValidator(_check_prefix)]
PartSize = Annotated[
    int,
    BeforeValidator(parse_size),
    AfterValidator(_check_part_size),
    PlainSerializer(format_size),
]
AttemptCount = Annotated[int, Field(ge=1, le=20)]


def _parse_limit(text: object) -> tuple[str, int]:
    found = re.fullmatch(r"([a-z0-9_-]+) *= *([0-9]{1,3})", text) if isinstance(text, str) else None
    if found is None or int(found[2]) == 0:
        raise ValueError('must be a type of tasks and a number, such as "convert=2"')
    return found[1], int(found[2])


def _format_limit(limit: tuple[str, int]) -> str:
    return f"{limit[0]}={limit[1]}"


TypeLimit = Annotated[
    tuple[str, int], BeforeValidator(_parse_limit), PlainSerializer(_format_limit)
]
TypeLimits = Annotated[tuple[TypeLimit, ...], Field(strict=False)]


def _parse_network(text: object) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text if isinstance(text, str) else "")
    except ValueError:
        raise ValueError('must be a network such as "10.0.0.0/8" or "fd00::/8"') from None


Network = Annotated[
    IPv4Network | IPv6Network, BeforeValidator(_parse_network), PlainSerializer(str)
]


def _check_port(port: int) -> int:
    if not 1 <= port <= _MAX_PORT:
        raise ValueError("must be a port: 1 to 65535")
    return port


Port = Annotated[int, AfterValidator(_check_port)]
