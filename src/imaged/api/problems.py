"""What a client is told when something goes wrong: one table, from error to status.

Of an error's classes, the most specific one in the table decides. Where the row has a sentence of
its own, the error's text is for the log alone: it may name paths, hosts or keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from starlette.responses import Response

from imaged.api.refusals import (
    BodyTooLarge,
    MediaTypeRefused,
    MethodNotAllowed,
    NoSuchPath,
    Refusal,
    Unauthenticated,
)
from imaged.api.wire import encode
from imaged.core import errors

OUR_MISTAKE = "The server made a mistake. Its log says more, under the id of this request."
NO_STORAGE = "The storage of images does not work at the moment. Please try again later."
NO_ROOM = "The storage of images has no room for this."
NO_CATALOG = "The catalog of images does not answer at the moment. Please try again later."


class Answer(NamedTuple):
    """A status, and what to say instead of the error's own sentence."""

    status: int
    sentence: str = ""


ANSWERS: Mapping[type[BaseException], Answer] = {
    Exception: Answer(500, OUR_MISTAKE),
    errors.ImagedError: Answer(500, OUR_MISTAKE),
    errors.ImageNotFound: Answer(404),
    errors.TagNotFound: Answer(404),
    errors.ImageExists: Answer(409),
    errors.ImageDeleted: Answer(410),
    errors.ImageProtected: Answer(403),
    errors.InvalidTransition: Answer(409),
    errors.ActivationRefused: Answer(403),
    errors.FormatsUnset: Answer(400),
    errors.NotRestorable: Answer(409),
    errors.NotPermitted: Answer(403),
    errors.DataForbidden: Answer(403),
    errors.InvalidRequest: Answer(400),
    errors.InvalidAttribute: Answer(400),
    errors.InvalidQuery: Answer(400),
    errors.UnknownStore: Answer(400),
    errors.ReadOnlyAttribute: Answer(403),
    errors.PropertyConflict: Answer(409),
    errors.TooMany: Answer(413),
    errors.UnsatisfiableRange: Answer(416),
    errors.DataRefused: Answer(400),
    errors.SizeMismatch: Answer(400),
    errors.TooLarge: Answer(413),
    errors.FormatRefused: Answer(415),
    errors.ClientVanished: Answer(400),
    errors.QuotaExceeded: Answer(413),
    errors.ClaimLost: Answer(503),
    errors.BlobGone: Answer(409, "The data of the image is being deleted."),
    errors.StoreError: Answer(503, NO_STORAGE),
    errors.StoreFull: Answer(413, NO_ROOM),
    errors.BlobMissing: Answer(503, NO_STORAGE),
    errors.BlobExists: Answer(503, NO_STORAGE),
    errors.WriteDiscarded: Answer(503, NO_STORAGE),
    errors.CatalogError: Answer(503, NO_CATALOG),
    errors.CatalogTooNew: Answer(503, NO_CATALOG),
    errors.CatalogTooOld: Answer(503, NO_CATALOG),
    NoSuchPath: Answer(404),
    MethodNotAllowed: Answer(405),
    MediaTypeRefused: Answer(415),
    BodyTooLarge: Answer(413),
    Unauthenticated: Answer(401),
}

TITLES: Mapping[int, str] = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    410: "Gone",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    416: "Request Range Not Satisfiable",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


def answer_to(error: Exception) -> Answer:
    """The status and the sentence for an error."""
    status, sentence = next(ANSWERS[kind] for kind in type(error).__mro__ if kind in ANSWERS)
    return Answer(status, sentence or str(error))


def problem(error: Exception, accept: str) -> Response:
    """The answer to a request that failed: JSON where it is asked for, plain text otherwise."""
    status, sentence = answer_to(error)
    title, headers = TITLES[status], _headers(error)
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
        case Refusal(headers=headers):
            return dict(headers)
        case errors.UnsatisfiableRange(size_bytes=size_bytes):
            return {"Content-Range": f"bytes */{size_bytes}"}
        case _:
            return {}
