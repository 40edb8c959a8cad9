"""A condition of a request on the image that it changes, checked on the locked record.

So of several requests with the same condition on the same state only one succeeds.
"""

from __future__ import annotations

from collections.abc import Callable

from imaged.core.claim import Claim
from imaged.core.image import Change, ClaimedChange, Image

#: Raises an error unless the image is as the request expects it.
Precondition = Callable[[Image], object]


def on_condition(condition: Precondition | None, change: Change) -> Change:
    """The change, made only if the condition holds; None: always."""
    if condition is None:
        return change

    def checked(image: Image) -> Image:
        condition(image)
        return change(image)

    return checked


def claimed_on_condition(condition: Precondition | None, change: ClaimedChange) -> ClaimedChange:
    """The claiming change, made only if the condition holds; None: always."""
    if condition is None:
        return change

    def checked(image: Image, claim: Claim) -> Image:
        condition(image)
        return change(image, claim)

    return checked
