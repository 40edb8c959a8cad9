"""Errors caused by the current state of an image."""

from __future__ import annotations

from imaged.core.errors.base import ImagedError


class ImageNotFound(ImagedError):
    """No image has this id, or the caller may not see it."""

    def __init__(self, image_id: str) -> None:
        super().__init__(f"There is no image {image_id}.")
        self.image_id = image_id


class TagNotFound(ImagedError):
    """The image has no such tag."""

    def __init__(self, tag: str) -> None:
        super().__init__(f"The image has no tag {tag!r}.")
        self.tag = tag


class ImageExists(ImagedError):
    """The id is taken, perhaps by an image that was deleted long ago."""

    def __init__(self, image_id: str) -> None:
        super().__init__(f"The image id {image_id} is taken; an id is never used twice.")
        self.image_id = image_id


class ImageDeleted(ImagedError):
    """The image was deleted while its data was being written."""

    def __init__(self, image_id: str) -> None:
        super().__init__(f"The image {image_id} was deleted while its data was being written.")
        self.image_id = image_id


class ImageProtected(ImagedError):
    """A protected image is never deleted."""

    def __init__(self, image_id: str) -> None:
        super().__init__(
            f"The image {image_id} is protected; set its attribute 'protected' to false first."
        )


class InvalidTransition(ImagedError):
    """The event is not possible in this status."""

    def __init__(self, status: str, event: str) -> None:
        super().__init__(f"An image that is {status} cannot take the step '{event}'.")
        self.status = status
        self.event = event


class ActivationRefused(InvalidTransition):
    """Only active images are deactivated, and only deactivated ones reactivated."""


class FormatsUnset(ImagedError):
    """Data is not accepted before both formats are set."""

    def __init__(self) -> None:
        super().__init__(
            "The attributes 'disk_format' and 'container_format' must be set before data is sent."
        )


class FormatsChanged(ImagedError):
    """The image was patched after its data was inspected as another format."""

    def __init__(self, judged: str, said: str) -> None:
        super().__init__(
            f"The attributes 'disk_format' and 'container_format' were changed meanwhile: the data "
            f"was judged as {judged}, and the image says {said} now. Ask again, and it is judged "
            "as that."
        )


class ImportNotReady(ImagedError):
    """The image has not the status or the attributes that its import needs."""

    def __init__(self, why: str) -> None:
        super().__init__(f"The image cannot be imported now: {why}.")


class NotRestorable(ImagedError):
    """The image cannot be restored: its bytes are being deleted or gone, or it never waited."""

    def __init__(self, image_id: str, why: str) -> None:
        super().__init__(f"The image {image_id} cannot be restored: {why}.")


class ClaimLost(ImagedError):
    """The claim ended: another process took the work over, or it is finished."""

    def __init__(self) -> None:
        super().__init__("This server lost its claim on the image; please try again.")


class BlobGone(ImagedError):
    """The ledger has no such bytes, or they are unfinished or doomed."""

    def __init__(self, key: str) -> None:
        super().__init__(f"The bytes {key} are unfinished, going or gone.")

    @property
    def for_clients(self) -> str:
        """A text without the key."""
        return "The data of the image is being deleted."
