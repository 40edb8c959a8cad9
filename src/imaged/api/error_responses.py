"""The answers to failed requests: one table from errors to HTTP statuses.

The most specific class of an error in the table applies. The answer has the error's text for
clients; the full text, which may name paths, hosts or keys, is only logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from starlette.responses import Response

from imaged.api.http_errors import (
    BodyTooLarge,
    BodyTooSlow,
    CrossSiteRefused,
    EncodingRefused,
    HostRefused,
    HttpError,
    LengthRequired,
    MediaTypeRefused,
    MethodNotAllowed,
    MetricsTokenMissing,
    NoSuchPath,
    NotModified,
    PreconditionFailed,
    Unauthenticated,
)
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


STATUSES: Mapping[type[BaseException], int] = {
    Exception: INTERNAL_ERROR,
    errors.ImagedError: INTERNAL_ERROR,
    errors.ImageNotFound: 404,
    errors.TagNotFound: 404,
    errors.TaskNotFound: 404,
    errors.TaskNotFinal: 409,
    errors.TaskFinal: 409,
    errors.TaskFailed: 400,
    errors.TaskStalled: 503,
    errors.ImageExists: 409,
    errors.ImageDeleted: 410,
    errors.ImageProtected: 403,
    errors.InvalidTransition: 409,
    errors.ActivationRefused: 403,
    errors.ImportNotReady: 409,
    errors.FormatsChanged: 409,
    errors.FormatsUnset: 400,
    errors.NotRestorable: 409,
    errors.NotPermitted: 403,
    errors.DataForbidden: 403,
    errors.InvalidRequest: 400,
    errors.InvalidAttribute: 400,
    errors.InvalidQuery: 400,
    errors.InvalidInput: 400,
    errors.UnknownStore: 400,
    errors.UnknownTaskType: 400,
    errors.ReadOnlyAttribute: 403,
    errors.PropertyConflict: 409,
    errors.TooMany: 413,
    errors.PropertiesTooLarge: 413,
    errors.UnsatisfiableRange: 416,
    errors.DataRefused: 400,
    errors.SizeMismatch: 400,
    errors.RetryMismatch: 409,
    errors.TooLarge: 413,
    errors.FormatRefused: 415,
    errors.DataDamaged: INTERNAL_ERROR,
    errors.ClientVanished: 400,
    errors.FetchFailed: 400,
    errors.FetchRefused: 400,
    errors.ConversionFailed: 400,
    errors.ConversionRefused: 400,
    errors.QuotaExceeded: 413,
    errors.TooManyTasks: 413,
    errors.ClaimLost: 503,
    errors.BlobGone: 409,
    errors.StoreError: 503,
    errors.StoreFull: 413,
    errors.WrongPlace: 503,
    errors.MarkerRefused: 503,
    errors.BlobMissing: 503,
    errors.BlobExists: 503,
    errors.WriteDiscarded: 503,
    errors.ExportError: 503,
    errors.ExportExists: 409,
    errors.ExportFull: 413,
    errors.ScratchError: 503,
    errors.ScratchFull: 413,
    errors.SecretKeyUnavailable: 503,
    errors.SecretUnreadable: 409,
    errors.CatalogError: 503,
    errors.CatalogFull: 503,
    errors.ListTooSlow: 503,
    errors.CatalogUnavailable: 503,
    errors.CatalogMissing: 503,
    errors.CatalogTooNew: 503,
    errors.CatalogTooOld: 503,
    NoSuchPath: 404,
    MethodNotAllowed: 405,
    MediaTypeRefused: 415,
    EncodingRefused: 415,
    LengthRequired: 411,
    NotModified: 304,
    PreconditionFailed: 412,
    BodyTooLarge: 413,
    BodyTooSlow: 408,
    HostRefused: 421,
    CrossSiteRefused: 403,
    MetricsTokenMissing: 401,
    Unauthenticated: 401,
}

#: Raised only by mistakes of the server; their text is only logged.
INTERNAL_ERRORS = (Exception, errors.ImagedError)

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
    kind = next(kind for kind in type(error).__mro__ if kind in STATUSES)
    status = BAD_GATEWAY if is_upload and STATUSES[kind] == UNAVAILABLE else STATUSES[kind]
    if kind not in INTERNAL_ERRORS and isinstance(error, errors.ImagedError):
        return StatusAndSentence(status, error.for_clients)
    return StatusAndSentence(status, INTERNAL_ERROR_SENTENCE)


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
