"""Errors of members: projects with which an image is shared."""

from __future__ import annotations

from imaged.core.errors.base import ImagedError
from imaged.core.errors.requests import NotPermitted


class MemberNotFound(ImagedError):
    """The image is not shared with this project, or the caller may not know."""

    http_status = 404
    remedy = "Check the id of the project; the owner of the image can list its members."
    sentence = "The image {} has no member {}."


class MemberExists(ImagedError):
    """The image is shared with this project already."""

    http_status = 409
    remedy = "Nothing: the image is shared with the project already."
    sentence = "The image {} is shared with the project {} already."


class NotShared(NotPermitted):
    """Only an image whose visibility is ``shared`` has members."""

    remedy = "Set `visibility` to `shared` first. Members of before count again then."
    sentence = (
        "The image {} is {}, and only a shared image has members; set its attribute 'visibility' "
        "to 'shared' first."
    )


class TooManyMembers(ImagedError):
    """An image is shared with as many projects as allowed."""

    http_status = 413
    remedy = (
        "Remove members, have the operator raise `images.max_members`, or give the image the "
        "visibility `community`."
    )
    sentence = "The image {} is shared with {} projects, and can be shared with {} at most."
