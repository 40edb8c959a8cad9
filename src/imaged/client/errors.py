"""Errors of the client, each with a remedy."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from imaged.core.errors import ImagedError

UNAUTHORIZED, FORBIDDEN, NOT_FOUND, CONFLICT, UNSUPPORTED_MEDIA_TYPE = 401, 403, 404, 409, 415
SERVER_ERRORS = 500
TEMPORARY_STATUSES = frozenset({408, 429})  # by RFC 9110 and RFC 6585 a later try may succeed


class ClientError(ImagedError):
    """Base of the errors. ``remedy`` is what the user can do, or ""."""

    remedy = ""

    def __init__(self, sentence: str, remedy: str = "") -> None:
        super().__init__(sentence)
        self.remedy = remedy or self.remedy


class EndpointInvalid(ClientError):
    """The address, the token's file or the certificates cannot be used."""


class ProfileInvalid(ClientError):
    """A remembered server, or a cloud of clouds.yaml, cannot be used."""


class ConnectionFailed(ClientError):
    """No service answered, or the connection broke."""

    remedy = "Check that the service runs and that --url (or IMAGED_URL) is its address."


class UnexpectedResponse(ClientError):
    """The answer is not of the Image API v2."""

    remedy = "Check that --url (or IMAGED_URL) is the address of an Image API v2."


class KeystoneUnreachable(ConnectionFailed):
    """Keystone, where the user signs in, did not answer, or cannot now."""

    remedy = "Check that Keystone runs and that auth_url (or OS_AUTH_URL) is its address."


class SignInRefused(ClientError):
    """Keystone did not let the user sign in, or not to a project."""


class ServiceNotInCatalog(ClientError):
    """Keystone's catalog does not say which image service is meant."""


class ErrorResponse(ClientError):
    """The service refused the request."""

    def __init__(self, status: int, sentence: str, remedy: str = "") -> None:
        super().__init__(sentence, remedy)
        self.status = status


class AuthenticationFailed(ErrorResponse):
    """The service does not know the token, or there was none."""

    remedy = (
        "`imaged login` remembers a server and your token for it; for one command name a file by "
        "--token-file, or set IMAGED_TOKEN. Operators make tokens by `imaged token`."
    )


class NoSuchImage(ErrorResponse):
    """No image has this id or name, or none that the caller may see."""

    remedy = (
        "`imaged ls` lists the images that you may see; operators list deleted ones by "
        "`imaged pending`."
    )

    def __init__(self, image: str) -> None:
        super().__init__(NOT_FOUND, f"There is no image {image}.")


class TemporaryError(ErrorResponse):
    """The service cannot answer now."""

    remedy = "Try again later; the service's log says more."


class AmbiguousName(ClientError):
    """Several images have this name."""

    def __init__(self, name: str, ids: Sequence[str]) -> None:
        super().__init__(
            f"Several images have the name {name}.", f"Say which by its id: {', '.join(ids)}."
        )


class ImageProtected(ClientError):
    """The image must not be deleted, as its attribute ``protected`` says."""

    def __init__(self, image_id: str) -> None:
        super().__init__(
            f"The image {image_id} is protected from deletion.",
            f"To permit it: imaged set {image_id} --unprotected",
        )


class ImageHasNoData(ClientError):
    """The image has no data that could be pulled."""

    def __init__(self, image_id: str, status: str) -> None:
        super().__init__(
            f"The image {image_id} is {status} and has no data.",
            "Pull it when it is active.",
        )


class ImageHasOtherData(ClientError):
    """The image has other data than the file."""

    def __init__(self, image_id: str, status: str) -> None:
        super().__init__(
            f"The image {image_id} is {status} and takes no data.",
            "Push without --image, which makes a new image.",
        )


class FileUnusable(ClientError):
    """A local file cannot be read or written."""


class FileExists(FileUnusable):
    """The target exists, and --force was not given."""

    def __init__(self, path: object) -> None:
        super().__init__(
            f"{path} exists already.", "Choose another name by -o, or overwrite it by --force."
        )


class FileChanged(FileUnusable):
    """The file grew or shrank while it was sent."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} changed while it was sent.", "Push a copy of it that no program writes."
        )


class DigestMismatch(ClientError):
    """The bytes here and there are not the same."""

    def __init__(self, image_id: str, algorithm: str, remedy: str) -> None:
        super().__init__(f"The {algorithm} of the image {image_id} differs.", remedy)


class PushFailed(ClientError):
    """The image exists and waits for its data. ``retry``: what to do, and the options for it."""

    def __init__(
        self,
        image_id: str,
        source: str,
        cause: ClientError,
        retry: tuple[str, str] = ("The image waits for another try", ""),
    ) -> None:
        what, options = retry
        again = f"{what}: imaged push --image {image_id}{options} {quote(source)}"
        super().__init__(str(cause), f"{cause.remedy} {again}".strip())
        self.unfinished_image_id = image_id


class TokenEnded(TemporaryError):
    """The service refused a token while data was sent: with a new one a later try may succeed."""

    remedy = "Push it again."

    def __init__(self) -> None:
        super().__init__(UNAUTHORIZED, "The token ended before the data was sent.")


def error_of_status(status: int, sentence: str) -> ErrorResponse:
    """The error for a refusing status."""
    sentence = f"The service refused ({status}): {sentence}"
    if status == UNAUTHORIZED:
        return AuthenticationFailed(status, sentence)
    if status >= SERVER_ERRORS or status in TEMPORARY_STATUSES:
        return TemporaryError(status, sentence)
    return ErrorResponse(status, sentence)
