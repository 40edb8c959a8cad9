"""The keys of blobs: ``<first two hex digits>/<image id>.<attempt>``.

The image's id lets operators identify blobs in a store; the attempt keeps each key unique.
"""

from __future__ import annotations

import re
from uuid import UUID

KEY_PATTERN = re.compile(
    r"([0-9a-f]{2})/(?=\1)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.[0-9a-f]{32}"
)


def make_key(image_id: str, attempt: UUID) -> str:
    """The key of one attempt to write an image."""
    image_id = image_id.lower()
    return f"{image_id[:2]}/{image_id}.{attempt.hex}"


def is_key(text: str) -> bool:
    """Whether this may be a key; all other names in a store do not belong to imaged."""
    return KEY_PATTERN.fullmatch(text) is not None
