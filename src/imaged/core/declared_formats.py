"""Bytes are judged as what an image said of itself then; what is published is what it says now.

Both formats may be patched while an import runs. So the change that makes bytes an image's data
compares what they were judged as with the record that is locked, and fails where that has changed:
a patch is always allowed, and never lets bytes pass that nobody looked at in that way.
"""

from __future__ import annotations

from imaged.core.claim import Claim
from imaged.core.errors import FormatsChanged, FormatsUnset
from imaged.core.image import ClaimedChange, Formats, Image


def require_formats_declared(image: Image) -> None:
    """Raise FormatsUnset unless both formats are said."""
    if image.disk_format is None or image.container_format is None:
        raise FormatsUnset


def require_formats_unchanged(image: Image, judged: Formats) -> None:
    """Raise FormatsChanged where the image says something else than its bytes were judged as."""
    if image.formats != judged:
        raise FormatsChanged(str(judged), str(image.formats))


def unless_formats_changed(judged: Formats, finish: ClaimedChange) -> ClaimedChange:
    """The finishing change, of bytes that were judged as this. Raises FormatsChanged."""

    def change(image: Image, claim: Claim) -> Image:
        finished = finish(image, claim)  # who has lost the claim is told so first
        require_formats_unchanged(image, judged)
        return finished

    return change
