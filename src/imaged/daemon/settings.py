"""From the one Config to the settings of each component."""

from __future__ import annotations

from imaged.config import Config
from imaged.config.sections import FilesystemSection
from imaged.core.disk_format import FormatPolicy
from imaged.services.claims import ClaimSettings
from imaged.services.reconcile import ReconcileSettings
from imaged.services.scrubber import ScrubberSettings
from imaged.services.stages import StageSettings
from imaged.stores.filesystem import FilesystemSettings


def filesystem_settings(store: FilesystemSection) -> FilesystemSettings:
    """How a folder is used. Who may read a file may also search the folder that it is in."""
    searchable = (store.file_mode & 0o444) >> 2
    return FilesystemSettings(
        path=store.path,
        min_free_bytes=store.min_free,
        file_mode=store.file_mode,
        folder_mode=store.file_mode | searchable,
    )


def claim_settings(config: Config) -> ClaimSettings:
    """How long a holder may be silent."""
    return ClaimSettings(lease=config.claims.lease, renew_every=config.claims.renew_every)


def stage_settings(config: Config) -> StageSettings:
    """What is asked of every body."""
    uploads = config.uploads
    return StageSettings(
        max_size_bytes=uploads.max_size,
        hash_algorithm=uploads.hash_algorithm,
        formats=FormatPolicy(uploads.check_format, uploads.refuse_unsafe),
    )


def scrubber_settings(config: Config) -> ScrubberSettings:
    """When bytes and records go."""
    scrubber = config.scrubber
    return ScrubberSettings(
        delay=scrubber.delay,
        every=scrubber.every,
        concurrency=scrubber.concurrency,
        keep_records=scrubber.keep_records,
    )


def reconcile_settings(config: Config) -> ReconcileSettings:
    """How careful the comparison is."""
    reconcile = config.reconcile
    return ReconcileSettings(
        every=reconcile.every,
        quarantine=reconcile.quarantine,
        max_strays=reconcile.max_strays,
        max_share=reconcile.max_share,
    )


def kills_uploads(config: Config) -> bool:
    """Whether a failed upload leaves a killed image."""
    return config.uploads.on_failure == "kill"
