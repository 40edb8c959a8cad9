"""Ensures that data is published under the formats as which it was inspected.

Both formats may be patched while an import runs. Therefore the change that publishes the data
compares the inspected formats with the locked record and fails if they differ: a patch is always
allowed, and never publishes data that was inspected as another format.
"""

from __future__ import annotations

from imaged.core.claim import Claim
from imaged.core.errors import FormatsChanged, FormatsUnset
from imaged.core.image import ClaimedChange, Formats, Image


def require_formats_declared(image: Image) -> None:
    """Raise FormatsUnset unless both formats are set."""
    if image.disk_format is None or image.container_format is None:
        raise FormatsUnset


def require_formats_unchanged(image: Image, judged: Formats) -> None:
    """Raise FormatsChanged if the image's formats differ from those as which its data was
    inspected.
    """
    if image.formats != judged:
        raise FormatsChanged(str(judged), str(image.formats))


def unless_formats_changed(judged: Formats, finish: ClaimedChange) -> ClaimedChange:
    """The finishing change for data that was inspected as these formats. Raises FormatsChanged."""

    def change(image: Image, claim: Claim) -> Image:
        finished = finish(image, claim)  # ClaimLost takes precedence
        require_formats_unchanged(image, judged)
        return finished

    return change
