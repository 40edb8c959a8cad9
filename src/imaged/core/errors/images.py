"""What an image, as it is now, does not allow."""

from __future__ import annotations

from imaged.core.errors.base import ImagedError


class ImageNotFound(ImagedError):
    """No image has this id, or none that the caller may see."""

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
    """Data may not come before both formats are known."""

    def __init__(self) -> None:
        super().__init__(
            "The attributes 'disk_format' and 'container_format' must be set before data is sent."
        )


class FormatsChanged(ImagedError):
    """The image was patched while its data was judged as something else."""

    def __init__(self, judged: str, said: str) -> None:
        super().__init__(
            f"The attributes 'disk_format' and 'container_format' were changed meanwhile: the data "
            f"was judged as {judged}, and the image says {said} now. Ask again, and it is judged "
            "as that."
        )


class ImportNotReady(ImagedError):
    """The image is not in the status, or does not say what, an import of it needs."""

    def __init__(self, why: str) -> None:
        super().__init__(f"The image cannot be imported now: {why}.")


class NotRestorable(ImagedError):
    """The image's time was up: its bytes are being deleted, or gone."""

    def __init__(self, image_id: str, why: str) -> None:
        super().__init__(f"The image {image_id} cannot be restored: {why}.")


class ClaimLost(ImagedError):
    """The work is no longer ours: somebody took it back, or it is finished."""

    def __init__(self) -> None:
        super().__init__("This server lost its claim on the image; please try again.")


class BlobGone(ImagedError):
    """The ledger has no such bytes, or they are unfinished or doomed."""

    def __init__(self, key: str) -> None:
        super().__init__(f"The bytes {key} are unfinished, going or gone.")

    @property
    def for_clients(self) -> str:
        """Without the key."""
        return "The data of the image is being deleted."
