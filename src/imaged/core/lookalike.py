"""Recognises data that is probably not a disk, and writes the notice for the image's owner.

Such data is accepted: a raw disk may begin with any bytes, and an image may be empty on purpose.
Usually it is a mistake, and the notice tells the owner before a server fails to boot.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

_DECOMPRESS = "Decompress it, and upload the result as a new image."
_EXTRACT = "Extract the image from it, and upload that as a new image."

#: Formats whose data begins like a disk. A kernel (aki) or RAM disk (ari) may be compressed.
RAW_LIKE_FORMATS = frozenset({"raw", "ami", "ploop"})

#: Nova sets it on the image of a server that boots from a volume: its data is in snapshots.
BLOCK_DEVICE_MAPPING = "block_device_mapping"


class Lookalike(Enum):
    """A kind of file recognised by its beginning, with the remedy for the owner."""

    GZIP = ("a file compressed with gzip", _DECOMPRESS)
    XZ = ("a file compressed with xz", _DECOMPRESS)
    ZSTD = ("a file compressed with zstd", _DECOMPRESS)
    BZIP2 = ("a file compressed with bzip2", _DECOMPRESS)
    LZ4 = ("a file compressed with lz4", _DECOMPRESS)
    ZIP = ("a zip archive", _EXTRACT)
    SEVEN_ZIP = ("a 7z archive", _EXTRACT)
    TAR = (
        "a tar archive",
        (
            "Upload the disk that is in it as a new image; an OVA as a whole has the "
            "'container_format' ova."
        ),
    )
    HTML = (
        "a web page",
        (
            "Check the response of its address, perhaps an error or a login form, and upload "
            "the disk itself as a new image."
        ),
    )

    @property
    def phrase(self) -> str:
        """The kind of file, as the end of "it looks like"."""
        return self.value[0]

    @property
    def remedy(self) -> str:
        """The remedy for the owner, as a sentence."""
        return self.value[1]


def notice_of(
    disk_format: str,
    size_bytes: int,
    lookalike: Lookalike | None,
    properties: Mapping[str, str],
) -> str | None:
    """The notice for the owner about accepted data; None: no notice."""
    if not size_bytes:
        if BLOCK_DEVICE_MAPPING in properties:
            return None
        return (
            "The image has no data: 0 bytes were sent. If it is to have some, upload them as a new "
            "image; 'openstack image create' sends those of --file."
        )
    if lookalike is None or disk_format not in RAW_LIKE_FORMATS:
        return None
    return f"The data looks like {lookalike.phrase}, and not like a disk. {lookalike.remedy}"
