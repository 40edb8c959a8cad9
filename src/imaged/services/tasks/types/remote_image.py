"""Images in other services that have the Image API v2: first the record is fetched, then the bytes.

The attributes that describe the bytes are copied. Owner, visibility and protection concern the
image there, and not its clone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from imaged.core import edits
from imaged.core.access import Caller
from imaged.core.attributes import ATTRIBUTES, UUID_PATTERN, validate_property
from imaged.core.digests import CHECKSUM, ExpectedDigest, is_supported_algorithm
from imaged.core.errors import FetchFailed, FetchRefused, ImagedError, InvalidInput, TaskFailed
from imaged.core.image import Image
from imaged.core.lifecycle import Status
from imaged.core.limits import KIB, MIB, require_properties_within
from imaged.ports.fetcher import Fetcher
from imaged.services.tasks.context import FETCHING, StreamCheckFactory, TaskContext
from imaged.services.tasks.types.new_image import FORMAT_ATTRIBUTES

MAX_RECORD_BYTES = MIB
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

    @contextmanager
    def refused_answers(self) -> Iterator[None]:
        """Report why its image could not be one here. Raises FetchFailed."""
        try:
            yield
        except ImagedError as error:
            why = f"the image there could not be one here: {str(error).rstrip('.')}"
            raise self.refusal("answer", why) from error


@dataclass(frozen=True, slots=True)
class RemoteImage:
    """The record of the image, before its bytes are fetched."""

    address: RemoteAddress
    model: Image  # the attributes that a clone copies
    size_bytes: int
    digest: ExpectedDigest | None  # if it reports one that can be computed


class _Record(msgspec.Struct):
    """The required fields; all others are metadata, and validated as such."""

    status: Annotated[str, msgspec.Meta(max_length=40)]
    size: Annotated[int, msgspec.Meta(ge=0)] | None = None
    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None


@dataclass(frozen=True, slots=True)
class RemoteImageClient:
    """Fetches images of other services. A token is sent only to the service that it is for."""

    fetcher: Fetcher
    check_factory: StreamCheckFactory

    async def check(self, url: str, caller: Caller) -> None:
        """Refuse what can be refused without a connection. Raises InvalidInput."""
        try:
            await self.fetcher.check(parse_address(url).url, owner=caller.project)
        except FetchRefused as error:
            raise InvalidInput("source_image_url", f"cannot be fetched: {error.reason}") from error

    async def describe(
        self, caller: Caller, url: str, token: str, described: Collection[str]
    ) -> RemoteImage:
        """Fetch the image's record. ``described``: the properties that the schema here names, which
        need not be text. Raises InvalidInput, FetchFailed.
        """
        address = parse_address(url)
        answer = await self._record(address, token, caller.project)
        return _read_image(caller, address, answer, described)

    async def store(
        self, context: TaskContext, remote: RemoteImage, token: str, store: str | None
    ) -> None:
        """Fetch its bytes into a store. Raises FetchFailed, and the errors of ``context.store``."""
        address = remote.address
        owner = context.task.owner
        context.rely_on_own_timeout()
        async with self.fetcher.open(
            address.data_url,
            _headers(token),
            owner=owner,
            is_compared=remote.digest is not None,
        ) as fetched:
            if fetched.size_bytes not in {None, remote.size_bytes}:
                why = f"it sends {fetched.size_bytes} bytes of an image of {remote.size_bytes}"
                raise address.refusal("answer", why)
            stream_checks = self.check_factory.begin_import(context.image, fetched.host)
            stream_checks.expect(remote.digest)
            async with aclosing(stream_checks.of_chunks(fetched.chunks)) as body:
                try:
                    await context.store(
                        body,
                        announced_bytes=remote.size_bytes,
                        store=store,
                        phase=FETCHING,
                        has_own_timeout=True,
                    )
                except TaskFailed as verdict:
                    raise address.refusal("body", str(verdict).rstrip(".")) from verdict

    async def _record(self, address: RemoteAddress, token: str, owner: str) -> bytes:
        headers = {"Accept": "application/json", **_headers(token)}
        record = bytearray()
        async with self.fetcher.open(address.url, headers, owner=owner) as fetched:
            async for chunk in fetched.chunks:
                record += chunk
                if len(record) > MAX_RECORD_BYTES:
                    why = f"the record of the image has more than {MAX_RECORD_BYTES} bytes"
                    raise address.refusal("answer", why)
        return bytes(record)


def _headers(token: str) -> Mapping[str, str]:
    return {"X-Auth-Token": token} if token else {}


def parse_address(url: str) -> RemoteAddress:
    """Parse the URL sent by a client. Raises InvalidInput."""
    found = _URL.fullmatch(url)
    if found is None:
        raise InvalidInput(
            "source_image_url", "is not the URL of an image, such as https://HOST/v2/images/ID"
        )
    return RemoteAddress(found[1])


def _read_image(
    caller: Caller, address: RemoteAddress, answer: bytes, described: Collection[str]
) -> RemoteImage:
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
    model = _model(caller, address, fields, described)
    return RemoteImage(address, model, record.size, _digest(record))


def _model(
    caller: Caller, address: RemoteAddress, fields: Mapping[str, Any], described: Collection[str]
) -> Image:
    for name in FORMAT_ATTRIBUTES:
        if fields.get(name) is None:
            raise address.refusal("answer", f"the image has no {name} there")
    attributes = {name: fields[name] for name in DESCRIBING if fields.get(name) is not None}
    properties = {
        name: value
        for name, value in fields.items()
        if (isinstance(value, str) or name in described) and _is_property(name, value)
    }
    with address.refused_answers():
        image = edits.new_image(caller, str(fields.get("id")), {**properties, **attributes})
        require_properties_within(image.properties, MAX_DESCRIBED_BYTES)
    return image


def _is_property(name: str, value: object) -> bool:
    """Whether it is a property here: not an attribute set by either service."""
    if name in ATTRIBUTES:
        return False
    try:
        return validate_property(name, value) is not None
    except ImagedError:
        return False


def _digest(record: _Record) -> ExpectedDigest | None:
    told = ((record.os_hash_algo, record.os_hash_value), (CHECKSUM, record.checksum))
    for algorithm, value in told:
        if algorithm and value and is_supported_algorithm(algorithm):
            return ExpectedDigest(algorithm, value)
    return None
