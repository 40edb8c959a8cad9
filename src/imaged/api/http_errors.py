"""Errors of HTTP requests that never reach a service, and the answers to all failed requests.

An error that has an HTTP status is answered with it and with its text for clients; any other one is
a mistake of the server. The full text, which may name paths, hosts or keys, is only logged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from starlette.responses import Response

from imaged.api.accept import JSON, takes_anything, wants_json
from imaged.api.serialize import encode
from imaged.core.errors import ImagedError, KeystoneError, UnsatisfiableRange

INTERNAL_ERROR = 500
NOT_MODIFIED = 304
UNAVAILABLE = 503
BAD_GATEWAY = 502
RETRY_AFTER_SECONDS = 5
INTERNAL_ERROR_SENTENCE = (
    "The server made a mistake. Its log has the details, under the id of this request."
)
NO_HEADERS: Mapping[str, str] = {}

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


class HttpError(ImagedError):
    """Base of the errors of HTTP requests; ``headers`` are sent with the answer."""

    headers: Mapping[str, str] = NO_HEADERS


class NoSuchPath(HttpError):
    """The path does not exist."""

    http_status = 404
    remedy = "Check the path; [the calls](api.md) lists all paths."
    sentence = "There is nothing at this address."


class NotInVersion(NoSuchPath):
    """The path names no version of the API that is served."""

    sentence = (
        "There is nothing at this address. The Image API is below /v2/; /versions lists its "
        "versions."
    )


class MethodNotAllowed(HttpError):
    """The path exists, but not for this method."""

    http_status = 405
    remedy = "Use one of the methods in the header `Allow`."
    sentence = "The method {} is not possible here; possible: {}."

    def __init__(self, method: str, allowed: Iterable[str]) -> None:
        methods = ", ".join(allowed)
        super().__init__(method, methods)
        self.headers = {"Allow": methods}


class MediaTypeRefused(HttpError):
    """The body has an unsupported media type."""

    http_status = 415
    remedy = "Send the `Content-Type` that the sentence names."
    sentence = "The Content-Type is {}; it must be {}. Add the header 'Content-Type: {}'."

    def __init__(
        self, given: str, accepted: Iterable[str], headers: Mapping[str, str] = NO_HEADERS
    ) -> None:
        types = list(accepted)
        super().__init__(given or "missing", " or ".join(types), types[-1])
        self.headers = headers


class EncodingRefused(HttpError):
    """The body is compressed, which is not supported."""

    http_status = 415
    remedy = "Unpack the body, and send it without `Content-Encoding`."
    sentence = (
        "The body has the Content-Encoding {!r}, which is not supported. "
        "Send it uncompressed, without this header."
    )
    headers: Mapping[str, str] = {"Accept-Encoding": "identity"}


class LengthRequired(HttpError):
    """The body has neither a length nor chunks, so it would count as empty."""

    http_status = 411
    remedy = "Send the length of the data, or send it in chunks."
    sentence = "The data needs the header Content-Length, or 'Transfer-Encoding: chunked'."
    headers: Mapping[str, str] = {"Connection": "close"}


class NotModified(HttpError):
    """The client has what it asks for: ``If-None-Match`` names the present ETag, or is ``*``."""

    http_status = 304
    remedy = "Nothing: what the client has is current."
    sentence = ""

    def __init__(self, etag: str | None = None) -> None:
        super().__init__()
        self.headers = _etag_header(etag)


class PreconditionFailed(HttpError):
    """A condition of the request (RFC 9110, section 13) does not hold. ``etag``: the present one of
    the image; None if the resource has none.
    """

    http_status = 412
    remedy = (
        "Show the image, and repeat the change with the `ETag` that it has now. Other resources "
        "have no ETag, and of conditions on them only `*` can hold."
    )
    sentence = "The condition in the header {} does not hold: {}."

    def __init__(self, header: str, etag: str | None = None) -> None:
        present = "this resource has no ETag" if etag is None else f"the ETag is {etag} now"
        super().__init__(header, present)
        self.headers = _etag_header(etag)


class BodyTooLarge(HttpError):
    """A JSON body exceeds its own limit."""

    http_status = 413
    remedy = "Send a smaller body; data goes to `…/file`."
    sentence = "The body is larger than {} bytes."


class BodyTooSlow(HttpError):
    """The body was received too slowly."""

    http_status = 408
    remedy = "Send it again, over a faster connection."
    sentence = "The body was sent too slowly."
    headers: Mapping[str, str] = {"Connection": "close"}


class HostRefused(HttpError):
    """Without authentication, the service was called by a name that a web page could have."""

    http_status = 421
    remedy = "Use localhost, or have the operator set `api.public_url`."
    sentence = (
        "The header Host says {!r}. With auth.method none this service answers to "
        "localhost and loopback addresses, and to the host of api.public_url; set that, or "
        "another auth.method."
    )


class CrossSiteRefused(HttpError):
    """Without authentication, a page of another site caused the request."""

    http_status = 403
    remedy = "Use no browser, or have the operator set up tokens."
    sentence = (
        "The header {} says {!r}: a page of another site asks. With auth.method "
        "none no other site may; let it use tokens, or be below api.public_url."
    )


class MetricsTokenMissing(HttpError):
    """Metrics at this address need the token."""

    http_status = 401
    remedy = (
        "Send the token of `metrics.token_file`, or have the operator give the metrics an address "
        "of their own in `metrics.bind`."
    )
    sentence = (
        "The metrics need the token of metrics.token_file, in the header 'Authorization: Bearer …'."
    )
    headers: Mapping[str, str] = {"WWW-Authenticate": 'Bearer realm="imaged metrics"'}


class Unauthenticated(HttpError):
    """The request has no valid token."""

    http_status = 401
    remedy = "Send a known token in `X-Auth-Token`."
    sentence = "A valid token is needed, in the header X-Auth-Token."

    def __init__(self, challenge: str = 'Token realm="imaged"') -> None:
        super().__init__()
        self.headers = {"WWW-Authenticate": challenge}


class StatusAndSentence(NamedTuple):
    """A status and the sentence for it."""

    status: int
    sentence: str


def status_and_sentence(error: Exception, *, is_upload: bool = False) -> StatusAndSentence:
    """The status and the sentence for an error.

    ``is_upload``: a part of a file is being received. Then 502 replaces 503, because clients repeat
    a request after 503, and send only the rest of the file.
    """
    if not isinstance(error, ImagedError) or error.http_status is None:
        return StatusAndSentence(INTERNAL_ERROR, INTERNAL_ERROR_SENTENCE)
    status = error.http_status
    if is_upload and status == UNAVAILABLE:
        status = BAD_GATEWAY
    return StatusAndSentence(status, error.for_clients)


def error_response(error: Exception, accept: str, *, is_upload: bool = False) -> Response:
    """The answer to a failed request: JSON, or plain text if the client asks for text or HTML."""
    status, sentence = status_and_sentence(error, is_upload=is_upload)
    title, headers = TITLES[status], _headers(error)
    if status == NOT_MODIFIED:  # a 304 has no body: RFC 9110, section 15.4.5
        return Response(status_code=status, headers=headers)
    readable = sentence.encode(errors="backslashreplace").decode()
    if wants_json(accept):
        facts = {"message": readable, "code": f"{status} {title}", "title": title}
        body = {"error": facts} if takes_anything(accept) else facts
        return Response(encode(body), status, headers, JSON)
    return Response(f"{status} {title}\n\n{readable}\n", status, headers, "text/plain")


def _etag_header(etag: str | None) -> Mapping[str, str]:
    return {} if etag is None else {"ETag": etag}


def _headers(error: Exception) -> dict[str, str]:
    match error:
        case HttpError(headers=headers):
            return dict(headers)
        case KeystoneError():
            return {"Retry-After": str(RETRY_AFTER_SECONDS)}
        case UnsatisfiableRange(size_bytes=size_bytes):
            return {"Content-Range": f"bytes */{size_bytes}"}
        case _:
            return {}
