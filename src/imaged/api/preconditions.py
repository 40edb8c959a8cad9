"""Conditions of a request (RFC 9110, section 13), for a service without validators.

No resource has an ETag or a Last-Modified. So ``If-Match`` holds if it is ``*`` and the resource
exists, ``If-None-Match`` fails if it is ``*`` and the resource exists, and conditions on times are
ignored, as required (13.1.3, 13.1.4). A condition counts only if the request would succeed without
it (13.2.1).
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import Message, Send

from imaged.api.http_errors import NotModified, PreconditionFailed

ANYTHING = "*"
NO_CONTENT = 204


def require_condition(headers: Headers, *, exists: bool) -> None:
    """Check the conditions of a request on a resource that exists, or does not exist yet.

    Raises PreconditionFailed.
    """
    matched = headers.getlist("if-match")
    if matched and not (exists and all(value.strip() == ANYTHING for value in matched)):
        raise PreconditionFailed("If-Match")
    if exists and _refuses_anything(headers):
        raise PreconditionFailed("If-None-Match")


def conditional(headers: Headers, send: Send) -> Send:
    """``send`` for a reading request: passes a success on only if the conditions hold.

    Raises PreconditionFailed, or NotModified, instead of starting the answer.
    """

    async def send_if_wanted(message: Message) -> None:
        if message["type"] == "http.response.start" and 200 <= message["status"] < 300:  # noqa: PLR2004
            exists = message["status"] != NO_CONTENT
            if exists and _refuses_anything(headers) and "if-match" not in headers:
                raise NotModified
            require_condition(headers, exists=exists)
        await send(message)

    return send_if_wanted


def _refuses_anything(headers: Headers) -> bool:
    return any(value.strip() == ANYTHING for value in headers.getlist("if-none-match"))
