"""``[images]``, ``[uploads]``, ``[downloads]``, ``[scrubber]`` and ``[reconcile]``: the records of
images, and their data from the checks when it arrives to its deletion.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import model_validator

from imaged.config.limits import CountLimit
from imaged.config.sections import Section, setting
from imaged.config.types import (
    Concurrency,
    Duration,
    FormatName,
    Fraction,
    HashAlgorithm,
    NonEmptyTuple,
    NonNegativeInt,
    Size,
    WrongSetting,
)
from imaged.core.digests import CHECKSUM, is_supported_algorithm
from imaged.core.disk_format import CONTAINER_FORMATS, DISK_FORMATS

MIN_CLOCK_STEP = timedelta(minutes=1)


class ImagesSection(Section):
    """Records of images."""

    max_members: CountLimit = setting(
        128,
        "With how many projects an image may be shared; more get 413. Images that have more keep "
        'them. A number, or "unlimited".',
        reloadable=True,
    )
    schema_file: str = setting(
        "",
        "The file that describes properties: their types, patterns and values, in JSON, as "
        "Glance's schema-image.json. Default: kernel_id and ramdisk_id are a UUID or null, others "
        "strings.",
        reloadable=True,
    )
    disk_formats: NonEmptyTuple[FormatName] = setting(
        list(DISK_FORMATS),
        "The disk formats that an image may have. Data of a format that imaged cannot recognise is "
        "taken unchecked.",
        reloadable=True,
    )
    container_formats: NonEmptyTuple[FormatName] = setting(
        list(CONTAINER_FORMATS),
        "The container formats that an image may have. Only data in bare is checked.",
        reloadable=True,
    )


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
    wait_for_space: Duration = setting(
        "30s",
        "How long data that is sent without its length waits for space of its project that younger "
        'such uploads hold, each time; then it gets 413. "0": not at all. Keep it below the '
        "timeouts of proxies and clients.",
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
    checksum: Literal["md5", "none"] = setting(
        CHECKSUM,
        'Whether images have the API\'s checksum, an md5. "none": it is null, for hosts without '
        "md5 (FIPS), and for speed; clients then need hash_algorithm. Images that have one keep "
        "it.",
        reloadable=True,
    )
    hash_algorithm: HashAlgorithm = setting(
        "sha512",
        "The digest of every image, beside the checksum. sha256 takes a third of the time on "
        "processors with SHA extensions (sha_ni in /proc/cpuinfo).",
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

    @model_validator(mode="after")
    def _require_digest(self) -> UploadsSection:
        if self.checksum == CHECKSUM and not is_supported_algorithm(CHECKSUM):
            why = 'must be "none" here: Python has no md5 on this machine (FIPS mode)'
            raise WrongSetting("checksum", why)
        return self


class DownloadsSection(Section):
    """Downloads of images."""

    verify: bool = setting(
        default=True,
        reason="Compare each block of 4 MiB with the checksum that was recorded when it was "
        "written, before any of its bytes leave; a wrong one ends the answer and marks the image. "
        "Blobs of earlier versions have no checksums until a `verify` task has read them. "
        "false: nothing is compared, and the kernel sends files of a folder by itself (sendfile), "
        "for half of the processor time.",
        reloadable=True,
    )
    delegate: Literal["none", "x-accel-redirect", "x-sendfile"] = setting(
        "none",
        "Which header asks the proxy before imaged to send the file of a download itself: that of "
        "nginx, or that of Apache and lighttpd. Needs verify = false, folders as stores, and a "
        "proxy that no client can go around.",
        reloadable=True,
    )
    delegate_prefix: str = setting(
        "/imaged-files/",
        "The internal location of nginx: x-accel-redirect is this and STORE/FILE.",
        reloadable=True,
    )

    @model_validator(mode="after")
    def _require_unverified(self) -> DownloadsSection:
        if self.delegate != "none" and self.verify:
            why = "needs downloads.verify = false: a proxy compares nothing with checksums"
            raise WrongSetting("delegate", why)
        if not (self.delegate_prefix.startswith("/") and self.delegate_prefix.endswith("/")):
            raise WrongSetting("delegate_prefix", 'must begin and end with "/"')
        return self


class ScrubberSection(Section):
    """When the bytes of deleted images are removed."""

    delay: Duration = setting(
        "24h",
        "How long a deleted image can be restored. Counted from its deletion with the delay "
        'configured now: a lower one frees space at the next round. "0" frees at once.',
        reloadable=True,
    )
    every: Duration = setting(
        "30s",
        'How often the scrubber runs; "0": never by itself.',
        reloadable=True,
    )
    concurrency: Concurrency = setting(
        4,
        "How many images expire, and how many blobs of a bucket are deleted, at the same time. "
        "Folders delete in batches.",
        reloadable=True,
    )
    keep_records: Duration = setting(
        "30d",
        "How long the record of a deleted image is kept; after that only its id is, so that it is "
        "never used again.",
        reloadable=True,
    )
    max_clock_step: Duration = setting(
        "1h",
        "A step of the catalog's clock by more than this stops all expiry and deletion: a step "
        "ahead would end every delay too early. Deletion continues when the step is undone, after "
        "as much time as the clock skipped and the longest delay, or after "
        "`imaged scrub --confirm-clock`.",
        reloadable=True,
    )

    @model_validator(mode="after")
    def _require_min_clock_step(self) -> ScrubberSection:
        if self.max_clock_step < MIN_CLOCK_STEP:
            raise WrongSetting("max_clock_step", "must be 1m at least: smaller steps are ordinary")
        return self


class ReconcileSection(Section):
    """Comparison of catalog and stores; it finds what only double faults leave."""

    every: Duration = setting(
        "6h", 'How often both are compared; "0": never by itself.', reloadable=True
    )
    quarantine: Duration = setting(
        "24h",
        "How long bytes without a row are kept: time to notice that a catalog was restored from "
        "an old backup.",
        reloadable=True,
    )
    max_strays: NonNegativeInt = setting(
        100,
        "The number of blobs without a row that may be deleted from a store, if they are within "
        "max_share too. If there are more, none is doomed there, and the log says so: an operator "
        "must check, and may delete them by `imaged reconcile --apply --max-delete N`.",
        reloadable=True,
    )
    max_share: Fraction = setting(
        0.01,
        "The same as a share of the store's blobs; both must hold. All blobs of a store are never "
        "deleted, and in a store of less than 100 none is deleted by itself.",
        reloadable=True,
    )
