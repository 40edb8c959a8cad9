"""Parses the record of an image in another service, by the Image API v2. No I/O is done here.

The attributes that describe the bytes are copied. Owner, visibility and protection concern the
image there, and not its clone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from imaged.core import edits
from imaged.core.access import Caller
from imaged.core.attributes import ATTRIBUTES, UUID_PATTERN, validate_property
from imaged.core.digests import CHECKSUM, is_supported_algorithm
from imaged.core.errors import FetchFailed, ImagedError, InvalidInput
from imaged.core.image import Image
from imaged.core.lifecycle import Status
from imaged.core.limits import KIB, require_properties_within
from imaged.services.tasks.types.clone_metadata import FORMAT_ATTRIBUTES

DESCRIBING = ("name", "disk_format", "container_format", "min_ram", "min_disk", "tags")
MAX_DESCRIBED_BYTES = 256 * KIB  # of the properties, in a description that this parses

_URL = re.compile(rf"(https?://[^/?#\s]+(?:/[^?#\s]*)?/v2/images/{UUID_PATTERN[1:-1]})(?:/file)?/?")


@dataclass(frozen=True, slots=True)
class RemoteAddress:
    """The address of an image in another service."""

    url: str

    @property
    def data_url(self) -> str:
        """The URL of its bytes."""
        return f"{self.url}/file"

    @property
    def host(self) -> str:
        """The name of the service in messages: without credentials and path."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    def refusal(self, phase: str, why: str) -> FetchFailed:
        """The error for a problem of that service."""
        return FetchFailed(self.host, phase, why)


@dataclass(frozen=True, slots=True)
class RemoteImage:
    """The record of the image, before its bytes are fetched."""

    address: RemoteAddress
    model: Image  # the attributes that a clone copies
    size_bytes: int
    digest: tuple[str, str] | None  # algorithm and value, if it reports one that can be computed


class _Record(msgspec.Struct):
    """The required fields; all others are metadata, and validated as such."""

    status: Annotated[str, msgspec.Meta(max_length=40)]
    size: Annotated[int, msgspec.Meta(ge=0)] | None = None
    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None


def parse_address(url: str) -> RemoteAddress:
    """Parse the URL sent by a client. Raises InvalidInput."""
    found = _URL.fullmatch(url)
    if found is None:
        raise InvalidInput(
            "source_image_url", "is not the URL of an image, such as https://HOST/v2/images/ID"
        )
    return RemoteAddress(found[1])


def read_image(caller: Caller, address: RemoteAddress, answer: bytes) -> RemoteImage:
    """Parse the answer of the service. Raises FetchFailed."""
    try:
        fields = msgspec.json.decode(answer, type=dict[str, Any])
        record = msgspec.convert(fields, _Record)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise address.refusal("answer", "what it answers is not an image") from error
    if record.status != Status.ACTIVE:
        raise address.refusal("answer", f"the image is {record.status} there, and not active")
    if record.size is None:
        raise address.refusal("answer", "its record does not have the size of the image")
    return RemoteImage(address, _model(caller, address, fields), record.size, _digest(record))


def _model(caller: Caller, address: RemoteAddress, fields: Mapping[str, Any]) -> Image:
    for name in FORMAT_ATTRIBUTES:
        if fields.get(name) is None:
            raise address.refusal("answer", f"the image has no {name} there")
    described = {name: fields[name] for name in DESCRIBING if fields.get(name) is not None}
    properties = {name: value for name, value in fields.items() if _is_property(name, value)}
    try:
        image = edits.new_image(caller, str(fields.get("id")), {**properties, **described})
        require_properties_within(image.properties, MAX_DESCRIBED_BYTES)
    except ImagedError as error:
        why = f"the image there could not be one here: {str(error).rstrip('.')}"
        raise address.refusal("answer", why) from error
    return image


def _is_property(name: str, value: object) -> bool:
    """Whether it is a property here: not an attribute set by either service."""
    try:
        return name not in ATTRIBUTES and validate_property(name, value) is not None
    except ImagedError:
        return False


def _digest(record: _Record) -> tuple[str, str] | None:
    told = ((record.os_hash_algo, record.os_hash_value), (CHECKSUM, record.checksum))
    for algorithm, value in told:
        if algorithm and value and is_supported_algorithm(algorithm):
            return algorithm, value
    return None
