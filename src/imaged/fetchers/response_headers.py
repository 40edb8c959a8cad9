"""What the headers of a response say: which body it has, how it is encoded, when to ask again.

Whether two responses have the same body: RFC 9110, sections 8.8, 13.1.5 and 15.3.7.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import aiohttp
from multidict import CIMultiDictProxy

CONTENT_RANGE = re.compile(
    r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII | re.IGNORECASE
)  # no file has a size with more digits
IDENTITY_CODINGS = {"", "identity", "aws-chunked"}  # they leave the bytes unchanged
MAX_CHARACTERS = 100  # of a text of the other side
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class BodyValidators:
    """Identifies a body under its URL: ETag, Last-Modified and size."""

    size_bytes: int | None = None
    etag: str | None = None
    last_modified: str | None = None
    is_compared: bool = False  # the whole has a digest to be compared with, so the size suffices

    @property
    def has_strong_etag(self) -> bool:
        """Whether equal tags mean equal bytes (RFC 9110, 8.8.3)."""
        return self.etag is not None and self.etag.startswith('"')

    @property
    def has_validators(self) -> bool:
        """Whether a change would be noticed. The size alone is not enough without a digest."""
        return self.etag is not None or self.last_modified is not None or self.is_compared

    def range_headers(self, received_bytes: int) -> Mapping[str, str]:
        """The headers that request the missing range; a weak tag must not be a condition."""
        if not received_bytes or not self.has_validators:
            return {}
        validator = self.etag if self.has_strong_etag else self.last_modified
        condition = {"If-Range": validator} if validator else {}
        return {"Range": f"bytes={received_bytes}-", **condition}

    def matching_rest(
        self, response: aiohttp.ClientResponse, received_bytes: int
    ) -> BodyValidators | None:
        """The validators, completed by the size in the answer; None unless it is the requested
        rest.

        A server may ignore If-Range, so the validators of the answer are compared as well. Beside a
        strong tag an answer may omit Last-Modified (RFC 9110, 15.3.7).
        """
        found = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status != HTTPStatus.PARTIAL_CONTENT or found is None:
            return None
        if int(found[1]) != received_bytes or not self._has_validators_of(response):
            return None
        if found[3] == "*":
            return self if self.has_strong_etag else None
        size_bytes = int(found[3])
        if self.size_bytes not in {None, size_bytes}:
            return None
        return replace(self, size_bytes=size_bytes)

    def matches_whole(self, response: aiohttp.ClientResponse, received_bytes: int) -> bool:
        """Whether this is the same body from its beginning."""
        is_known = self.has_validators or not received_bytes
        again = validators_of(response, is_compared=self.is_compared)
        return response.status == HTTPStatus.OK and is_known and again == self

    def _has_validators_of(self, response: aiohttp.ClientResponse) -> bool:
        other = validators_of(response)
        if not self.has_validators or other.etag != self.etag:
            return False
        if other.last_modified is None and self.has_strong_etag:
            return True
        return other.last_modified == self.last_modified


def validators_of(response: aiohttp.ClientResponse, *, is_compared: bool = False) -> BodyValidators:
    """The validators of a whole body."""
    return BodyValidators(
        response.content_length if response.status == HTTPStatus.OK else None,
        response.headers.get("ETag") or None,
        response.headers.get("Last-Modified") or None,
        is_compared,
    )


def retry_after_seconds(text: str, now: datetime) -> float:
    """The pause that a Retry-After requests, in seconds, from seconds or a date (RFC 9110, 10.2.3).

    0.0 if the header is missing, in the past or invalid.
    """
    if re.fullmatch(r"[0-9]{1,9}", text.strip()):
        return float(text)
    try:
        moment = parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, OverflowError):  # or a date out of range
        return 0.0
    return max(0.0, (moment - now).total_seconds())


def unsupported_coding(headers: CIMultiDictProxy[str]) -> str:
    """A coding that changes the bytes; "" if there is none.

    Object stores repeat "aws-chunked" from the upload, without applying it to the download. A
    transfer coding other than "chunked" would have to be decoded, and was not offered in TE (RFC
    9110, 10.1.4).
    """
    for name, plain in (
        ("Content-Encoding", IDENTITY_CODINGS),
        ("Transfer-Encoding", {"", "chunked"}),
    ):
        for coding in ",".join(headers.getall(name, [])).split(","):
            if coding.strip().lower() not in plain:
                return coding.strip()
    return ""


def printable(text: str, longest: int = MAX_CHARACTERS) -> str:
    """The text in one line of printable characters, cut to ``longest`` of them.

    The HTTP parser returns bytes that are not UTF-8 as surrogates, which cannot be stored.
    """
    kept = "".join(
        character if character.isprintable() else REPLACEMENT for character in text[: longest + 1]
    ).strip()
    return kept if len(text) <= longest else f"{kept[:longest]}…"
