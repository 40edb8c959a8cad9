"""Translates Config into the settings of each component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr

from imaged.api.allowed_hosts import AllowedHosts
from imaged.api.stores import StoreFacts
from imaged.config import Config
from imaged.config.stores import FilesystemBaseSection, FilesystemSection, S3BaseSection, S3Section
from imaged.conversion.qemu_img import QemuImgSettings
from imaged.conversion.scratch import ScratchSettings
from imaged.core.disk_format import FormatPolicy
from imaged.core.errors import StoreError
from imaged.core.ledger import StrayLimits
from imaged.fetchers.fetch_settings import FetchSettings
from imaged.server.settings import ConnectionSettings, MinimumRate, TcpAddress
from imaged.services.claims import ClaimSettings
from imaged.services.images import RecordLimits
from imaged.services.ingest_pipeline import IngestSettings
from imaged.services.reconciler import ReconcileSettings
from imaged.services.scrubber import ScrubberSettings
from imaged.services.tasks.runner import RunnerSettings
from imaged.services.tasks.task_service import TaskServiceSettings
from imaged.stores.filesystem.settings import FilesystemSettings
from imaged.stores.s3.credentials import Secret, read_secret
from imaged.stores.s3.settings import S3Settings


def filesystem_settings(store: FilesystemBaseSection) -> FilesystemSettings:
    """Settings of a filesystem store. Users who may read files may search their folders."""
    searchable = (store.file_mode & 0o444) >> 2
    return FilesystemSettings(
        path=store.path,
        min_free_bytes=store.min_free,
        file_mode=store.file_mode,
        folder_mode=store.file_mode | searchable,
    )


def password_file(config: Config) -> Path | None:
    """The file with the password of the catalog's role, if configured."""
    return Path(config.catalog.password_file) if config.catalog.password_file else None


def s3_settings(name: str, store: S3BaseSection) -> S3Settings:
    """Settings of an S3 store. Raises StoreError if its keys cannot be read."""
    return S3Settings(
        endpoint=store.endpoint,
        bucket=store.bucket,
        prefix=store.prefix,
        region=store.region,
        access_key=_secret(name, store.access_key, store.access_key_file),
        secret_key=_secret(name, store.secret_key, store.secret_key_file),
        addressing=store.addressing,
        ca_file=Path(store.ca_file) if store.ca_file else None,
        part_size_bytes=store.part_size,
        parts_in_flight=store.parts_in_flight,
        checksum=store.checksum,
        connect_timeout=store.connect_timeout,
        read_timeout=store.read_timeout,
        attempts=store.attempts,
        retry_for=store.retry_for,
    )


def _secret(store: str, given: SecretStr | None, file: str) -> Secret | None:
    """Return the key: a value takes precedence over a file. Raises StoreError."""
    if given is not None:
        return Secret(given.get_secret_value())
    if not file:
        return None
    try:
        return read_secret(Path(file))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it holds no key"
        raise StoreError(store, f"cannot read the key in {file}: {why}") from error


def store_facts(config: Config) -> Sequence[StoreFacts]:
    """The stores as the API describes them."""
    return [
        StoreFacts(
            name,
            is_default=name == config.stores.default,
            description=store.description,
            type="file" if isinstance(store, FilesystemSection) else store.type,
            properties=_properties(store),
        )
        for name, store in config.stores.by_name.items()
    ]


def _properties(store: FilesystemSection | S3Section) -> Mapping[str, object]:
    match store:
        case FilesystemSection():
            return {"data_dir": str(store.path)}
        case S3Section():
            return {
                "endpoint": store.endpoint,
                "region": store.region,
                "bucket": store.bucket,
                "prefix": store.prefix,
            }


def connection_settings(config: Config) -> ConnectionSettings:
    """Limits of client connections."""
    api = config.api
    return ConnectionSettings(
        max_connections=api.max_connections,
        max_connections_per_address=api.max_connections_per_address,
        header_timeout=api.header_timeout,
        max_header_bytes=api.max_header_size,
        min_rate=MinimumRate(api.min_rate, api.min_rate_window),
        idle_timeout=api.idle_timeout,
        linger=api.linger,
    )


def own_names(config: Config) -> AllowedHosts:
    """The host names that the API accepts without authentication."""
    bound = {address.host for address in config.api.bind if isinstance(address, TcpAddress)}
    is_networked = config.auth.allow_anyone_on_the_network
    return AllowedHosts(
        config.api.public_url, frozenset(bound) if is_networked else frozenset(), is_networked
    )


def claim_settings(config: Config) -> ClaimSettings:
    """Leases of claims."""
    return ClaimSettings(lease=config.claims.lease, renew_every=config.claims.renew_every)


def stage_settings(config: Config) -> IngestSettings:
    """Requirements on uploaded data."""
    uploads = config.uploads
    return IngestSettings(
        max_size_bytes=uploads.max_size,
        hash_algorithm=uploads.hash_algorithm,
        formats=FormatPolicy(uploads.check_format, uploads.refuse_unsafe),
        remembers_broken=bool(uploads.remember_broken),
    )


def scrubber_settings(config: Config) -> ScrubberSettings:
    """When the scrubber deletes bytes and records."""
    scrubber = config.scrubber
    return ScrubberSettings(
        delay=scrubber.delay,
        every=scrubber.every,
        concurrency=scrubber.concurrency,
        keep_records=scrubber.keep_records,
    )


def longest_delay(config: Config) -> timedelta:
    """The longest delay before data, or its protection, is removed; records do not count."""
    uploads = config.uploads
    return max(
        config.scrubber.delay,
        config.reconcile.quarantine,
        uploads.staged_time_to_live,
        uploads.remember_broken,
    )


def reconcile_settings(config: Config) -> ReconcileSettings:
    """Limits of the reconciler."""
    reconcile = config.reconcile
    return ReconcileSettings(
        every=reconcile.every,
        quarantine=reconcile.quarantine,
        limits=StrayLimits(max_strays=reconcile.max_strays, max_share=reconcile.max_share),
    )


def record_limits(config: Config) -> RecordLimits:
    """Limits of record sizes."""
    return RecordLimits(
        max_properties_bytes=config.uploads.max_properties_size,
        max_page_bytes=config.api.max_page_size,
    )


def kills_uploads(config: Config) -> bool:
    """Whether a failed upload sets its image to ``killed``."""
    return config.uploads.on_failure == "kill"


def task_service_settings(config: Config) -> TaskServiceSettings:
    """Access to tasks, limits for each project, and retention."""
    tasks = config.tasks
    return TaskServiceSettings(
        access=tasks.access,
        time_to_live=tasks.time_to_live,
        max_unfinished=tasks.max_unfinished_per_owner,
        max_properties_bytes=config.uploads.max_properties_size,
    )


def runner_settings(config: Config) -> RunnerSettings:
    """Concurrency of tasks."""
    tasks = config.tasks
    return RunnerSettings(
        concurrency=tasks.concurrency,
        limits=dict(tasks.limits),
        poll_every=tasks.poll_every,
        per_destination=tasks.exports_per_destination,
        stalled_after=tasks.stalled_after,
    )


def key_file(config: Config) -> Path:
    """The file with the key for secrets."""
    return Path(config.tasks.key_file)


def fetch_settings(config: Config) -> FetchSettings:
    """Allowed addresses and time limits of fetches."""
    fetch = config.fetch
    return FetchSettings(
        allow=fetch.allow,
        ports=fetch.ports,
        total_time=fetch.total_time,
        min_bytes_per_second=fetch.min_rate,
        ca_file=Path(fetch.ca_file) if fetch.ca_file else None,
    )


def qemu_img_settings(config: Config) -> QemuImgSettings:
    """Resource limits of one conversion."""
    conversion = config.conversion
    return QemuImgSettings(
        memory_bytes=conversion.memory,
        cpu_time=conversion.cpu_time,
        time=conversion.time,
        max_size_bytes=config.uploads.max_size,
    )


def scratch_settings(config: Config) -> ScratchSettings:
    """The scratch folder of conversions."""
    return ScratchSettings(config.conversion.scratch, config.conversion.min_free)
