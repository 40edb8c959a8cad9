"""Errors of images: of their state, and of the bytes that are received or stored for them."""

from __future__ import annotations

from collections.abc import Sequence

from imaged.core.errors.base import ImagedError


class ImageNotFound(ImagedError):
    """No image has this id, or the caller may not see it."""

    http_status = 404
    remedy = "Check the id, and whether the project of the token may see the image."
    sentence = "There is no image {}."


class TagNotFound(ImagedError):
    """The image has no such tag."""

    http_status = 404
    remedy = "Nothing: the image does not have the tag."
    sentence = "The image has no tag {!r}."


class ImageExists(ImagedError):
    """The id is taken, perhaps by an image that was deleted long ago."""

    http_status = 409
    remedy = "Choose another id, or let imaged choose one."
    sentence = "The image id {} is taken; an id is never used twice."


class ImageDeleted(ImagedError):
    """The image was deleted while its data was being written."""

    http_status = 410
    remedy = "Nothing: the image was deleted meanwhile. imaged removes its bytes."
    sentence = "The image {} was deleted while its data was being written."


class ImageProtected(ImagedError):
    """A protected image is never deleted."""

    http_status = 403
    remedy = "Set `protected` to false first, to delete it."
    sentence = "The image {} is protected; set its attribute 'protected' to false first."


class InvalidTransition(ImagedError):
    """The event is not possible in this status."""

    http_status = 409
    remedy = "Check the image's status, and [what may follow](statuses.md)."

    def __init__(self, status: str, event: str) -> None:
        super().__init__(f"An image that is {status} cannot take the step '{event}'.")
        self.status = status
        self.event = event


class ActivationRefused(InvalidTransition):
    """Only active images are deactivated, and only deactivated ones reactivated."""

    http_status = 403
    remedy = "Check the status of the image."


class FormatsUnset(ImagedError):
    """Data is not accepted before both formats are set."""

    http_status = 400
    remedy = "Set `disk_format` and `container_format`, and send the data again."
    sentence = (
        "The attributes 'disk_format' and 'container_format' must be set before data is sent."
    )


class FormatsChanged(ImagedError):
    """The image was patched after its data was inspected as another format."""

    http_status = 409
    remedy = "Repeat the call: the data is then checked as the current formats."
    sentence = (
        "The attributes 'disk_format' and 'container_format' were changed meanwhile: the data "
        "was judged as {}, and the image says {} now. Ask again, and it is judged "
        "as that."
    )


class ImportNotReady(ImagedError):
    """The image has not the status or the attributes that its import needs."""

    http_status = 409
    remedy = "Check the status of the image, and whether data was staged."
    sentence = "The image cannot be imported now: {}."


class NotRestorable(ImagedError):
    """The image cannot be restored: its bytes are being deleted or gone, or it never waited."""

    http_status = 409
    remedy = "It cannot be restored; create it again."
    sentence = "The image {} cannot be restored: {}."


class NotPurgeable(ImagedError):
    """The image cannot be purged: it is not deleted, or its bytes are gone already."""

    http_status = 409
    remedy = "Only deleted images can be purged; delete it first."
    sentence = "The image {} cannot be purged: {}."


class ClaimLost(ImagedError):
    """The claim ended: another process took the work over, or it is finished."""

    http_status = 503
    remedy = "Send it again. If it persists, see `lease.renewal_failed` in the log."
    sentence = "This server lost its claim on the image; please try again."


class BlobGone(ImagedError):
    """The ledger has no such bytes, or they are unfinished or doomed."""

    http_status = 409
    remedy = "Nothing: the bytes were deleted meanwhile."
    client_text = "The data of the image is being deleted."
    sentence = "The bytes {} are unfinished, going or gone."


class DataRefused(ImagedError):
    """The received bytes are refused."""

    http_status = 400
    remedy = "Send data of the declared format and digest."


class SizeMismatch(DataRefused):
    """Fewer or more bytes were received than announced."""

    remedy = "Send all of it again: the image is queued again."
    sentence = "{} bytes were announced, {} were received."


class RetryMismatch(DataRefused):
    """An upload broke off, and this body is not the same file from its first byte."""

    http_status = 409
    remedy = (
        "Send the whole file again, from its first byte. To send another file on purpose, set the "
        "header `X-Imaged-Replace: true`, or wait for `uploads.remember_broken`."
    )
    sentence = (
        "An upload into this image broke off after {} bytes, and this one "
        "{}. Send the whole file again, from its first byte; or, to send another file on "
        "purpose, set the header 'X-Imaged-Replace: true'."
    )


class TooLarge(DataRefused):
    """More bytes than ``uploads.max_size`` allows."""

    http_status = 413
    remedy = "Send less, or have the operator raise `uploads.max_size`."
    sentence = "The data is larger than the limit of {} bytes."


class FormatRefused(DataRefused):
    """The bytes are not of the declared format, or have features that are not safe."""

    http_status = 415
    remedy = (
        "Do what the sentence says: it names the `disk_format` that fits, or the remedy "
        "([formats](formats.md) lists them all)."
    )


class DataDamaged(ImagedError):
    """Stored bytes differ from their record. ``problems``: one sentence each."""

    http_status = 500
    remedy = (
        "Tell the operator, who finds `image.damaged` in the log and restores the data from a "
        "backup. Retrying does not help."
    )

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(f"The data of the image is damaged. {' '.join(problems)}")
        self.problems = tuple(problems)


class ClientVanished(ImagedError):
    """The body ended before its announced end."""

    http_status = 400
    remedy = "Send it again: the image is queued again."
    sentence = "The connection broke off before the end of the data."


class QuotaExceeded(ImagedError):
    """A project has not enough left of a resource. ``resource``: total, staged, images, uploads.

    ``may_fit_later``: whether another upload of unknown length may free what is missing, so that
    this one waits (``core/growth.py``).
    """

    http_status = 413
    remedy = (
        "Do what the sentence says, or have the operator raise the limit that it names: "
        "[limit projects](../how-to/limit-projects.md)."
    )
    sentence = (
        "The project {} has a limit '{}' of {} {}: {} are used, and {} more are needed. {} An "
        "operator can raise the limit."
    )

    def __init__(
        self,
        project: str,
        resource: str,
        *,
        used: int,
        limit: int,
        more: int,
        unit: str,
        advice: str,
    ) -> None:
        super().__init__(project, resource, limit, unit, used, more, advice)
        self.resource = resource
        self.may_fit_later = False
