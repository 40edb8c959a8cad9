"""What data looks like that is no disk, and the notice on an image that was made of it.

Such data is accepted: a raw disk may begin with any bytes, and an image may be empty on purpose.
Mostly, though, its owner meant something else, and hears of it before a server does not boot.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

_UNPACK = "Unpack it, and upload the result as a new image."

#: Formats whose data begins like a disk. A kernel (aki) or RAM disk (ari) may well be packed.
RAW_LIKE_FORMATS = frozenset({"raw", "ami", "ploop"})

#: Nova writes it on the image of a server that boots from a volume: its data is in snapshots.
BLOCK_DEVICE_MAPPING = "block_device_mapping"


class Lookalike(Enum):
    """What the beginning of the data is known for, and what its owner can do."""

    GZIP = ("a file packed by gzip", _UNPACK)
    XZ = ("a file packed by xz", _UNPACK)
    ZSTD = ("a file packed by zstd", _UNPACK)
    BZIP2 = ("a file packed by bzip2", _UNPACK)
    LZ4 = ("a file packed by lz4", _UNPACK)
    ZIP = ("a zip archive", _UNPACK)
    SEVEN_ZIP = ("a 7z archive", _UNPACK)
    TAR = (
        "a tar archive",
        (
            "Upload the disk that is in it as a new image; an OVA as a whole has the "
            "'container_format' ova."
        ),
    )
    HTML = (
        "a page of the web",
        (
            "Look at what its address answers, perhaps an error or a form to log in, and upload "
            "the disk itself as a new image."
        ),
    )

    @property
    def phrase(self) -> str:
        """What it looks like, in a few words."""
        return self.value[0]

    @property
    def remedy(self) -> str:
        """What its owner can do, as a sentence."""
        return self.value[1]


def notice_of(
    disk_format: str,
    size_bytes: int,
    lookalike: Lookalike | None,
    properties: Mapping[str, str],
) -> str | None:
    """What the owner of an image should know of data that was accepted; None: nothing."""
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
