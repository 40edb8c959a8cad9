"""``[uploads]`` and ``[downloads]``: checks and limits of data, and memory for bytes in flight."""

from __future__ import annotations

from typing import Literal

from imaged.config.sections import Section, setting
from imaged.config.types import Duration, HashAlgorithm, Size


class UploadsSection(Section):
    """Data of images: limits, checks, and what happens after a failure."""

    max_size: Size = setting(
        "1TiB", "The largest image that is accepted; larger ones get 413.", reloadable=True
    )
    on_failure: Literal["requeue", "kill"] = setting(
        "requeue",
        'The image after a failed upload: "requeue" lets its owner try again, "kill" '
        "leaves a killed record, as in the first version of the API.",
        reloadable=True,
    )
    remember_broken: Duration = setting(
        "24h",
        "How long an image remembers the bytes of a broken upload. Until then the next body must "
        "begin with the same bytes, because many clients repeat an upload without rewinding "
        'their file, and send only the rest. "0": nothing is remembered, and such a rest becomes '
        "the image.",
        reloadable=True,
    )
    staged_time_to_live: Duration = setting(
        "24h",
        "How long staged data is kept for its import; then the image is queued again.",
        reloadable=True,
    )
    max_properties_size: Size = setting(
        "256KiB",
        "The maximum bytes of all properties of an image, names and values together; more get "
        "413. Every list carries them. Images that have more keep them, and may shrink.",
        reloadable=True,
    )
    transfer_budget: Size = setting(
        "256MiB",
        "Memory for bytes in flight, of all transfers together, and as much again for tasks while "
        "there are some. When it is used up, transfers get slower instead of using more memory.",
    )
    hash_algorithm: HashAlgorithm = setting(
        "sha512",
        "The second digest of every image, beside md5 (the checksum that the API asks for).",
        reloadable=True,
    )
    check_format: bool = setting(
        default=True,
        reason="Refuse data that is not of the declared disk_format.",
        reloadable=True,
    )
    refuse_unsafe: bool = setting(
        default=True,
        reason="Refuse disk images that make their reader open other files, such as a qcow2 with "
        "a backing file.",
        reloadable=True,
    )


class DownloadsSection(Section):
    """Downloads of images."""

    verify: bool = setting(
        default=True,
        reason="Compare each block of 4 MiB with the checksum that was recorded when it was "
        "written, before any of its bytes leave; a wrong one ends the answer and marks the image. "
        "Blobs of earlier versions have no checksums until a `verify` task has read them.",
        reloadable=True,
    )
