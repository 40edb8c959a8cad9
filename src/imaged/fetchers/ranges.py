"""Whether two answers are about the same body (RFC 9110, sections 8.8 and 14)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp

CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a body from another one under the same URL."""

    size_bytes: int | None = None
    validator: str | None = None  # a strong entity tag, or the moment it was modified

    def request_for_rest(self, received_bytes: int) -> Mapping[str, str]:
        """The headers that ask for what is missing."""
        if not received_bytes:
            return {}
        condition = {"If-Range": self.validator} if self.validator else {}
        return {"Range": f"bytes={received_bytes}-", **condition}

    def is_rest(self, response: aiohttp.ClientResponse, received_bytes: int) -> bool:
        """Whether this is the rest of it, from there on."""
        match = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status != HTTPStatus.PARTIAL_CONTENT or match is None:
            return False
        start, size = int(match[1]), match[3]
        is_same_size = self.size_bytes is not None and size == str(self.size_bytes)
        return start == received_bytes and (is_same_size or self.validator is not None)

    def is_again(self, response: aiohttp.ClientResponse, received_bytes: int) -> bool:
        """Whether this is the same body from its beginning."""
        is_known = self.validator is not None or not received_bytes
        return response.status == HTTPStatus.OK and is_known and identity_of(response) == self


def identity_of(response: aiohttp.ClientResponse) -> Identity:
    """What an answer says of its whole body."""
    tag = response.headers.get("ETag", "")
    strong = tag if tag.startswith('"') else None
    size_bytes = response.content_length if response.status == HTTPStatus.OK else None
    return Identity(size_bytes, strong or response.headers.get("Last-Modified"))
