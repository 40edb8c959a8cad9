"""What only HTTP can refuse: requests that never reach a service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from imaged.core.errors import ImagedError


class HttpError(ImagedError):
    """Base of what is refused at the door; ``headers`` belong to the answer."""

    def __init__(self, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.headers = dict(headers or {})


class NoSuchPath(HttpError):
    """Nothing is served under this path."""

    def __init__(self) -> None:
        super().__init__("There is nothing at this address.")


class MethodNotAllowed(HttpError):
    """The path is known, but not for this method."""

    def __init__(self, method: str, allowed: Iterable[str]) -> None:
        methods = ", ".join(allowed)
        super().__init__(
            f"The method {method} is not possible here; possible: {methods}.", {"Allow": methods}
        )


class MediaTypeRefused(HttpError):
    """The body is not of a type that is understood here."""

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
    """The body is packed, and is stored or read as it comes."""

    def __init__(self, coding: str) -> None:
        super().__init__(
            f"The body has the Content-Encoding {coding!r}, and nothing here unpacks it. "
            "Send it unpacked, without this header.",
            {"Accept-Encoding": "identity"},
        )


class LengthRequired(HttpError):
    """Data comes neither with its length nor in chunks: it would end before it begins."""

    def __init__(self) -> None:
        super().__init__(
            "The data needs the header Content-Length, or 'Transfer-Encoding: chunked'.",
            {"Connection": "close"},
        )


class NotModified(HttpError):
    """The client asked for what it does not have (``If-None-Match: *``), and this exists."""

    def __init__(self) -> None:
        super().__init__("")


class PreconditionFailed(HttpError):
    """A condition of the request (RFC 9110, section 13) does not hold."""

    def __init__(self, header: str) -> None:
        super().__init__(
            f"The condition in the header {header} does not hold: nothing here has an ETag."
        )


class BodyTooLarge(HttpError):
    """A JSON body has a limit of its own."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The body is larger than {limit_bytes} bytes.")


class BodyTooSlow(HttpError):
    """The body came so slowly that it was not waited for any longer."""

    def __init__(self) -> None:
        super().__init__("The body came too slowly.", {"Connection": "close"})


class HostRefused(HttpError):
    """Without authentication, the service is called by a name that a page of the web could have."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"The header Host says {host!r}. With auth.method none this service answers to "
            "localhost and loopback addresses, and to the host of api.public_url; set that, or "
            "another auth.method."
        )


class CrossSiteRefused(HttpError):
    """Without authentication, a page of another site had a browser send this."""

    def __init__(self, header: str, value: str) -> None:
        super().__init__(
            f"The header {header} says {value!r}: a page of another site asks. With auth.method "
            "none no other site may; let it use tokens, or be below api.public_url."
        )


class MetricsTokenMissing(HttpError):
    """Figures are told here to those only who show the token for them."""

    def __init__(self) -> None:
        super().__init__(
            "The figures need the token of metrics.token_file, in the header 'Authorization: "
            "Bearer …'.",
            {"WWW-Authenticate": 'Bearer realm="imaged metrics"'},
        )


class Unauthenticated(HttpError):
    """Nobody knows who is asking."""

    def __init__(self) -> None:
        super().__init__(
            "A valid token is needed, in the header X-Auth-Token.",
            {"WWW-Authenticate": 'Token realm="imaged"'},
        )
