"""The answers to failed requests.

An error that has an HTTP status is answered with it and with its text for clients; any other one is
a mistake of the server. The full text, which may name paths, hosts or keys, is only logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from starlette.responses import Response

from imaged.api.http_errors import HttpError
from imaged.api.serialize import encode
from imaged.core import errors

INTERNAL_ERROR = 500
NOT_MODIFIED = 304
UNAVAILABLE = 503
BAD_GATEWAY = 502
INTERNAL_ERROR_SENTENCE = (
    "The server made a mistake. Its log has the details, under the id of this request."
)


class StatusAndSentence(NamedTuple):
    """A status and the sentence for it."""

    status: int
    sentence: str


TITLES: Mapping[int, str] = {
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    416: "Request Range Not Satisfiable",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


def status_and_sentence(error: Exception, *, is_upload: bool = False) -> StatusAndSentence:
    """The status and the sentence for an error.

    ``is_upload``: a part of a file is being received. Then 502 replaces 503, because clients repeat
    a request after 503, and send only the rest of the file.
    """
    if not isinstance(error, errors.ImagedError) or error.http_status is None:
        return StatusAndSentence(INTERNAL_ERROR, INTERNAL_ERROR_SENTENCE)
    status = error.http_status
    if is_upload and status == UNAVAILABLE:
        status = BAD_GATEWAY
    return StatusAndSentence(status, error.for_clients)


def error_response(error: Exception, accept: str, *, is_upload: bool = False) -> Response:
    """The answer to a failed request: JSON if the client accepts it, otherwise plain text."""
    status, sentence = status_and_sentence(error, is_upload=is_upload)
    title, headers = TITLES[status], _headers(error)
    if status == NOT_MODIFIED:  # a 304 has no body: RFC 9110, section 15.4.5
        return Response(status_code=status)
    readable = sentence.encode(errors="backslashreplace").decode()
    if wants_json(accept):
        body = {"message": readable, "code": f"{status} {title}", "title": title}
        return Response(encode(body), status, headers, "application/json")
    return Response(f"{status} {title}\n\n{readable}\n", status, headers, "text/plain")


def wants_json(accept: str) -> bool:
    """Whether an Accept header names JSON."""
    for item in accept.lower().split(","):
        media_type, *parameters = (part.strip() for part in item.split(";"))
        if media_type == "application/json":
            return not any(parameter in {"q=0", "q=0.0", "q=0.00"} for parameter in parameters)
    return False


def _headers(error: Exception) -> dict[str, str]:
    match error:
        case HttpError(headers=headers):
            return dict(headers)
        case errors.UnsatisfiableRange(size_bytes=size_bytes):
            return {"Content-Range": f"bytes */{size_bytes}"}
        case _:
            return {}
