"""Errors of HTTP requests that never reach a service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from imaged.core.errors import ImagedError


class HttpError(ImagedError):
    """Base of the errors of HTTP requests; ``headers`` are sent with the answer."""

    def __init__(self, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.headers = dict(headers or {})


class NoSuchPath(HttpError):
    """The path does not exist."""

    http_status = 404
    remedy = "Check the path; [the calls](api.md) lists all paths."

    def __init__(self) -> None:
        super().__init__("There is nothing at this address.")


class MethodNotAllowed(HttpError):
    """The path exists, but not for this method."""

    http_status = 405
    remedy = "Use one of the methods in the header `Allow`."

    def __init__(self, method: str, allowed: Iterable[str]) -> None:
        methods = ", ".join(allowed)
        super().__init__(
            f"The method {method} is not possible here; possible: {methods}.", {"Allow": methods}
        )


class MediaTypeRefused(HttpError):
    """The body has an unsupported media type."""

    http_status = 415
    remedy = "Send the `Content-Type` that the sentence names."

    def __init__(
        self, given: str, accepted: Iterable[str], headers: Mapping[str, str] | None = None
    ) -> None:
        types = list(accepted)
        super().__init__(
            f"The Content-Type is {given or 'missing'}; it must be {' or '.join(types)}. "
            f"Add the header 'Content-Type: {types[-1]}'.",
            headers,
        )


class EncodingRefused(HttpError):
    """The body is compressed, which is not supported."""

    http_status = 415
    remedy = "Unpack the body, and send it without `Content-Encoding`."

    def __init__(self, coding: str) -> None:
        super().__init__(
            f"The body has the Content-Encoding {coding!r}, which is not supported. "
            "Send it uncompressed, without this header.",
            {"Accept-Encoding": "identity"},
        )


class LengthRequired(HttpError):
    """The body has neither a length nor chunks, so it would count as empty."""

    http_status = 411
    remedy = "Send the length of the data, or send it in chunks."

    def __init__(self) -> None:
        super().__init__(
            "The data needs the header Content-Length, or 'Transfer-Encoding: chunked'.",
            {"Connection": "close"},
        )


class NotModified(HttpError):
    """The client has set ``If-None-Match: *``, and the resource exists."""

    http_status = 304
    remedy = "Nothing: the image exists, as the condition asked."

    def __init__(self) -> None:
        super().__init__("")


class PreconditionFailed(HttpError):
    """A condition of the request (RFC 9110, section 13) does not hold."""

    http_status = 412
    remedy = (
        "Repeat it without the condition, or with `If-Match: *`: imaged gives no ETags, so none "
        "can match."
    )

    def __init__(self, header: str) -> None:
        super().__init__(
            f"The condition in the header {header} does not hold: resources have no ETag."
        )


class BodyTooLarge(HttpError):
    """A JSON body exceeds its own limit."""

    http_status = 413
    remedy = "Send a smaller body; data goes to `…/file`."

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The body is larger than {limit_bytes} bytes.")


class BodyTooSlow(HttpError):
    """The body was received too slowly."""

    http_status = 408
    remedy = "Send it again, over a faster connection."

    def __init__(self) -> None:
        super().__init__("The body was sent too slowly.", {"Connection": "close"})


class HostRefused(HttpError):
    """Without authentication, the service was called by a name that a web page could have."""

    http_status = 421
    remedy = "Use localhost, or have the operator set `api.public_url`."

    def __init__(self, host: str) -> None:
        super().__init__(
            f"The header Host says {host!r}. With auth.method none this service answers to "
            "localhost and loopback addresses, and to the host of api.public_url; set that, or "
            "another auth.method."
        )


class CrossSiteRefused(HttpError):
    """Without authentication, a page of another site caused the request."""

    http_status = 403
    remedy = "Use no browser, or have the operator set up tokens."

    def __init__(self, header: str, value: str) -> None:
        super().__init__(
            f"The header {header} says {value!r}: a page of another site asks. With auth.method "
            "none no other site may; let it use tokens, or be below api.public_url."
        )


class MetricsTokenMissing(HttpError):
    """Metrics at this address need the token."""

    http_status = 401
    remedy = (
        "Send the token of `metrics.token_file`, or have the operator give the metrics an address "
        "of their own in `metrics.bind`."
    )

    def __init__(self) -> None:
        super().__init__(
            "The metrics need the token of metrics.token_file, in the header 'Authorization: "
            "Bearer …'.",
            {"WWW-Authenticate": 'Bearer realm="imaged metrics"'},
        )


class Unauthenticated(HttpError):
    """The request has no valid token."""

    http_status = 401
    remedy = "Send a known token in `X-Auth-Token`."

    def __init__(self) -> None:
        super().__init__(
            "A valid token is needed, in the header X-Auth-Token.",
            {"WWW-Authenticate": 'Token realm="imaged"'},
        )
