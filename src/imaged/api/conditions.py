"""Conditions of a request (RFC 9110, section 13): ``If-Match`` and ``If-None-Match``.

The record of an image has a strong ETag. It also stands for what is below the record, where only
changes are conditional on it: tags, actions, imports, data. Other resources have no ETag: of the
conditions on them only ``*`` means anything, that the resource exists. Conditions on times are
ignored, as required without a Last-Modified (13.1.3, 13.1.4).

A condition counts only if the request would succeed without it, as far as that is known before its
body is read (13.2.1).
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Self

from starlette.datastructures import Headers
from starlette.types import Message, Send

from imaged.api.http_errors import NotModified, PreconditionFailed
from imaged.api.serialize import image_etag
from imaged.core.access import Caller
from imaged.core.precondition import Precondition

IF_MATCH = "If-Match"
IF_NONE_MATCH = "If-None-Match"

_ANY = "*"
_ENTITY_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')  # section 8.8.3
_NO_CONTENT = 204


@dataclass(frozen=True, slots=True)
class EntityTags:
    """The value of one of the headers: ``*``, or a list. What is no entity tag matches none."""

    is_any: bool = False
    strong: AbstractSet[str] = frozenset()  # with their quotes
    weak: AbstractSet[str] = frozenset()  # likewise, without W/

    @classmethod
    def of(cls, headers: Headers, name: str) -> Self | None:
        """Parse the header; None if the request has none."""
        lines = headers.getlist(name)
        if not lines:
            return None
        tags = [match.groups() for line in lines for match in _ENTITY_TAG.finditer(line)]
        return cls(
            all(line.strip() == _ANY for line in lines),
            frozenset(tag for weakness, tag in tags if not weakness),
            frozenset(tag for weakness, tag in tags if weakness),
        )

    def match(self, etag: str | None, *, exists: bool, weakly: bool) -> bool:
        """Whether the current representation is among them. ``weakly``: see section 8.8.3.2."""
        if self.is_any:
            return exists
        return etag in self.strong or (weakly and etag in self.weak)


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of one request."""

    if_match: EntityTags | None
    if_none_match: EntityTags | None

    @classmethod
    def of(cls, headers: Headers) -> Self | None:
        """Parse both headers; None if the request has no conditions."""
        if_match = EntityTags.of(headers, IF_MATCH)
        if_none_match = EntityTags.of(headers, IF_NONE_MATCH)
        if if_match is None and if_none_match is None:
            return None
        return cls(if_match, if_none_match)

    def require(self, etag: str | None, *, exists: bool = True) -> None:
        """Check the conditions of a change. Raises PreconditionFailed."""
        if self.if_match and not self.if_match.match(etag, exists=exists, weakly=False):
            raise PreconditionFailed(IF_MATCH, etag)
        if self.if_none_match and self.if_none_match.match(etag, exists=exists, weakly=True):
            raise PreconditionFailed(IF_NONE_MATCH, etag)

    def require_wanted(self, etag: str | None, *, exists: bool = True) -> None:
        """Check the conditions of a request that reads. Raises PreconditionFailed, NotModified."""
        if self.if_match is None and self.if_none_match:
            if self.if_none_match.match(etag, exists=exists, weakly=True):
                raise NotModified(etag)
            return
        self.require(etag, exists=exists)


def require_wanted(headers: Headers, etag: str) -> None:
    """Check the conditions of a request that reads, before its answer is made.

    Raises PreconditionFailed, NotModified.
    """
    if conditions := Conditions.of(headers):
        conditions.require_wanted(etag)


def image_condition(
    headers: Headers, caller: Caller, *, exists: bool = True
) -> Precondition | None:
    """The condition of a request on the record of an image; None: it has none.

    ``exists``: whether what the request writes exists already.
    """
    conditions = Conditions.of(headers)
    if conditions is None:
        return None
    return lambda image: conditions.require(image_etag(image, caller), exists=exists)


def conditional(conditions: Conditions, send: Send) -> Send:
    """``send`` for a reading request: passes a success on only if the conditions hold.

    Raises PreconditionFailed, or NotModified, instead of starting the answer.
    """

    async def send_if_wanted(message: Message) -> None:
        if message["type"] == "http.response.start" and 200 <= message["status"] < 300:  # noqa: PLR2004 - successes
            etag = Headers(raw=message["headers"]).get("etag")
            conditions.require_wanted(etag, exists=message["status"] != _NO_CONTENT)
        await send(message)

    return send_if_wanted
