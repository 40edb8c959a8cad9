"""The calls of the Image API v2 that a client needs, and the record of an image."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from imaged.client.errors import (
    CONFLICT,
    FORBIDDEN,
    NOT_FOUND,
    AmbiguousName,
    ClientError,
    ConnectionFailed,
    ErrorResponse,
    NoSuchImage,
    UnexpectedResponse,
)
from imaged.client.http_session import (
    UPLOAD_RESPONSE_SECONDS,
    Endpoint,
    HttpSession,
    open_http_session,
)
from imaged.core.attributes import OCTET_STREAM, REPLACE_HEADER, STORE_HEADER, UUID_PATTERN
from imaged.core.digests import CHECKSUM, is_supported_algorithm
from imaged.core.limits import MIB

IMAGES_PATH = "/v2/images"
MAX_PAGE_IMAGES = 1000  # services give no more at once
PATCH_MEDIA_TYPE = "application/openstack-images-v2.1-json-patch"

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Record:
    """The attributes that the client uses; ``all`` has every attribute."""

    id: str
    name: str
    status: str
    size_bytes: int | None
    digests: Mapping[str, str]  # hexadecimal, by algorithm, the strongest first
    all: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """A hash of id, size and digests; it changes with the data."""
        facts = (self.id, self.size_bytes, sorted(self.digests.items()))
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]


class ImageApi:
    """An Image API v2. Every call raises ConnectionFailed, ErrorResponse, UnexpectedResponse."""

    def __init__(self, session: HttpSession) -> None:
        self._session = session

    async def create(self, attributes: Mapping[str, object]) -> Record:
        """Create an image; the attributes include its id, so a repeated call creates it once."""
        try:
            answer = await self._session.ask_json("POST", IMAGES_PATH, json=attributes)
        except ErrorResponse as error:
            if error.status != CONFLICT:
                raise
            return await self.show(str(attributes["id"]))
        return read_record(answer)

    async def show(self, image_id: str) -> Record:
        """The image's record. Raises NoSuchImage."""
        try:
            return read_record(await self._session.ask_json("GET", _path(image_id)))
        except ErrorResponse as error:
            if error.status != NOT_FOUND:
                raise
            raise NoSuchImage(image_id) from error

    async def history(self, image_id: str) -> Mapping[str, Any] | None:
        """The history of an image, also of a deleted one; None if the service shows none.

        ``history`` has its entries, beside ``id``, ``status`` and ``scrub_due_at``.
        """
        return await self._read_part(image_id, "history")

    async def members(self, image_id: str) -> Sequence[Mapping[str, Any]]:
        """The members: all for the owner, a member's own; none if the service shows none."""
        answer = await self._read_part(image_id, "members")
        return () if answer is None else answer["members"]

    async def _read_part(self, image_id: str, name: str) -> dict[str, Any] | None:
        """The answer with the list of this name, beside the record; None if it is not shown."""
        try:
            answer = await self._session.ask_json("GET", f"{_path(image_id)}/{name}")
        except ErrorResponse as error:
            if error.status not in {FORBIDDEN, NOT_FOUND}:
                raise
            return None
        fields: dict[str, Any] = answer if isinstance(answer, dict) else {}
        listed = fields.get(name)
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            raise UnexpectedResponse(f"The answer is not the {name} of an image.")
        return fields

    async def find(self, image: str) -> Record:
        """The image with this id or, if it is unique, this name.

        Raises NoSuchImage, AmbiguousName.
        """
        if re.fullmatch(UUID_PATTERN, image):
            return await self.show(image)
        query = urlencode({"name": image, "limit": 10})
        found = _read_page(await self._read_list(f"{IMAGES_PATH}?{query}"))
        if not found:
            raise NoSuchImage(image)
        if len(found) > 1:
            raise AmbiguousName(image, [record.id for record in found])
        return found[0]

    async def list(self, filters: Mapping[str, str], limit: int) -> list[Record]:
        """Up to ``limit`` images that match the filters, the newest first."""
        found: list[Record] = []
        page = min(limit, MAX_PAGE_IMAGES)
        path: str | None = f"{IMAGES_PATH}?{urlencode({**filters, 'limit': page})}"
        while path is not None and len(found) < limit:
            answer = await self._read_list(path)
            found += _read_page(answer)
            path = answer.get("next") if isinstance(answer, dict) else None
        return found[:limit]

    async def _read_list(self, path: str) -> Any:
        """A page of a list. Raises UnexpectedResponse where the service has no list of images."""
        try:
            return await self._session.ask_json("GET", path)
        except ErrorResponse as error:
            if error.status != NOT_FOUND:
                raise
            raise UnexpectedResponse("The service has no list of images there (404).") from error

    async def delete(self, image_id: str) -> None:
        """Delete the image."""
        async with self._session.ask("DELETE", _path(image_id)):
            pass

    async def change(
        self, record: Record, attributes: Mapping[str, object], removed: Iterable[str] = ()
    ) -> Record:
        """Set and remove attributes and properties, possibly none."""
        steps: list[dict[str, object]] = [
            {
                "op": "replace" if name in record.all else "add",
                "path": _json_pointer(name),
                "value": new,
            }
            for name, new in attributes.items()
        ]
        steps += [{"op": "remove", "path": _json_pointer(name)} for name in removed]
        if not steps:
            return record
        headers = {"Content-Type": PATCH_MEDIA_TYPE}
        path = _path(record.id)
        return read_record(await self._session.ask_json("PATCH", path, json=steps, headers=headers))

    async def send(
        self,
        image_id: str,
        body: AsyncIterator[bytes],
        size_bytes: int | None,
        store: str | None = None,
        *,
        replaces: bool = False,
    ) -> None:
        """Upload; a body of unknown size is sent in chunks. Errors of the body pass through."""
        headers = {"Content-Type": OCTET_STREAM}
        if size_bytes is not None:
            headers["Content-Length"] = str(size_bytes)
        if store is not None:
            headers[STORE_HEADER] = store
        if replaces:
            headers[REPLACE_HEADER] = "true"
        kept = _ErrorKeepingBody(body)
        try:
            async with self._session.ask(
                "PUT",
                f"{_path(image_id)}/file",
                data=kept.blocks(),
                headers=headers,
                patience=UPLOAD_RESPONSE_SECONDS,
            ):
                pass
        except ConnectionFailed:
            if kept.failure is not None:
                raise kept.failure from None
            raise

    @asynccontextmanager
    async def fetch(self, image_id: str, start: int = 0) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open the data from an offset on.

        If the service ignores ranges and sends all, the bytes before the offset are skipped.
        """
        headers = {"Range": f"bytes={start}-"} if start else {}
        path = f"{_path(image_id)}/file"
        async with self._session.ask("GET", path, headers=headers) as answer:
            found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            begins = int(found[1]) if found else 0
            if begins > start:
                raise UnexpectedResponse(
                    f"Bytes from {start} on were requested, not from {begins}."
                )
            yield _skip_bytes(start - begins, answer.content.iter_chunked(MIB))


@asynccontextmanager
async def open_image_api(endpoint: Endpoint) -> AsyncIterator[ImageApi]:
    """Open the API of a service while the block runs. Raises EndpointInvalid."""
    async with open_http_session(endpoint) as session:
        yield ImageApi(session)


def read_record(answer: object) -> Record:
    """Parse a record. Raises UnexpectedResponse."""
    if not isinstance(answer, dict):
        raise UnexpectedResponse("The answer is not an image.")
    size = answer.get("size")
    try:
        return Record(
            id=_text(answer["id"]),
            name=_text(answer.get("name") or ""),
            status=_text(answer["status"]),
            size_bytes=size if isinstance(size, int) else None,
            digests=_digests(answer),
            all=answer,
        )
    except (KeyError, TypeError) as error:
        raise UnexpectedResponse("The answer is an image without id or status.") from error


def _read_page(answer: object) -> list[Record]:
    listed = answer.get("images") if isinstance(answer, dict) else None
    if not isinstance(listed, list):
        raise UnexpectedResponse("The answer is not a list of images.")
    return [read_record(one) for one in listed]


def _digests(answer: Mapping[str, Any]) -> dict[str, str]:
    told = {
        answer.get("os_hash_algo"): answer.get("os_hash_value"),
        CHECKSUM: answer.get("checksum"),
    }
    return {
        algorithm: value.lower()
        for algorithm, value in told.items()
        if isinstance(algorithm, str)
        and isinstance(value, str)
        and is_supported_algorithm(algorithm)
    }


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _path(image_id: str) -> str:
    return f"{IMAGES_PATH}/{quote(image_id, safe='')}"


def _json_pointer(name: str) -> str:
    """The name as a JSON pointer (RFC 6901)."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


async def _skip_bytes(passed_over: int, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        if passed_over < len(chunk):
            yield chunk[passed_over:]
        passed_over = max(passed_over - len(chunk), 0)


class _ErrorKeepingBody:
    """Keeps an error of the body, which aiohttp reports as one of the connection."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self._body = body
        self.failure: ClientError | None = None

    async def blocks(self) -> AsyncIterator[bytes]:
        try:
            async for block in self._body:
                yield block
        except ClientError as error:
            self.failure = error
            raise
