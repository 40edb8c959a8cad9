"""Fills the settings of each component from the configuration, which has the defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import SecretStr

from imaged.api.allowed_hosts import AllowedHosts
from imaged.api.cors import CorsSettings
from imaged.api.discovery import StoreFacts
from imaged.config import Config
from imaged.config.secrets import read_secret
from imaged.config.sections import Section
from imaged.config.stores import FilesystemBaseSection, FilesystemSection, S3BaseSection, S3Section
from imaged.conversion.qemu_img import QemuImgSettings
from imaged.conversion.scratch import ScratchSettings
from imaged.core.disk_format import FormatPolicy
from imaged.core.errors import ImagedError, StoreKeyUnreadable
from imaged.core.ledger import StrayLimits
from imaged.core.notification import WantedEvents, matching_events
from imaged.core.quota import Limits, Resource
from imaged.core.secret import Secret
from imaged.fetchers.fetch_settings import FetchSettings
from imaged.server.settings import ConnectionSettings, MinimumRate, TcpAddress
from imaged.services.claims import ClaimSettings
from imaged.services.event_delivery import DeliverySettings
from imaged.services.images import RecordLimits
from imaged.services.ingest_pipeline import IngestSettings
from imaged.services.members import MemberSettings
from imaged.services.reconciler import ReconcileSettings
from imaged.services.scrubber import ScrubberSettings
from imaged.services.tasks.runner import RunnerSettings
from imaged.services.tasks.task_service import TaskServiceSettings
from imaged.stores.filesystem.settings import FilesystemSettings
from imaged.stores.s3.settings import S3Settings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")


class CertificatesRefused(ImagedError):
    """The file of trusted certificate authorities cannot be read."""

    needs_correction = True

    def __init__(self, path: Path | None, error: OSError) -> None:
        super().__init__(
            f"The certificates in {path} cannot be used: {error.strerror or error}. Name a file "
            "with certificates of authorities in PEM."
        )


def settings_for(section: Section, kind: type[S], **translated: object) -> S:
    """Fill ``kind``, a dataclass: each field from the setting of its name, or from ``translated``.

    A field with a default is a constant of the component, not a setting. Raises TypeError, when the
    process starts, if a field has no source or two.
    """
    here = {field.name: field for field in fields(kind)}
    given = {name: getattr(section, name) for name in type(section).model_fields if name in here}
    given |= translated
    for name in given.keys() & here.keys():
        if here[name].default is not MISSING or here[name].default_factory is not MISSING:
            raise TypeError(f"{kind.__name__}.{name} is a setting and must not have a default too")
    return kind(**given)


def connection_settings(config: Config) -> ConnectionSettings:
    """Limits of client connections."""
    api = config.api
    return settings_for(
        api,
        ConnectionSettings,
        max_header_bytes=api.max_header_size,
        min_rate=MinimumRate(api.min_rate, api.min_rate_window),
    )


def own_names(config: Config) -> AllowedHosts:
    """The host names that the API accepts without authentication."""
    bound = {address.host for address in config.api.bind if isinstance(address, TcpAddress)}
    is_networked = config.auth.allow_anyone_on_the_network
    return AllowedHosts(
        config.api.public_url, frozenset(bound) if is_networked else frozenset(), is_networked
    )


def cors_settings(config: Config) -> CorsSettings:
    """Which web pages may call the API."""
    return settings_for(config.api.cors, CorsSettings)


def record_limits(config: Config) -> RecordLimits:
    """Limits of record sizes."""
    return RecordLimits(
        max_properties_bytes=config.uploads.max_properties_size,
        max_page_bytes=config.api.max_page_size,
    )


def member_settings(config: Config) -> MemberSettings:
    """The limit of members."""
    return settings_for(config.images, MemberSettings)


def password_file(config: Config) -> Path | None:
    """The file with the password of the catalog's role, if configured."""
    return _path(config.catalog.password_file)


def default_limits(config: Config) -> Limits:
    """Limits of projects without limits of their own."""
    return {resource: getattr(config.quotas, resource.value) for resource in Resource}


def claim_settings(config: Config) -> ClaimSettings:
    """Leases of claims."""
    return settings_for(config.claims, ClaimSettings)


def filesystem_settings(store: FilesystemBaseSection) -> FilesystemSettings:
    """Settings of a filesystem store. Users who may read files may search their folders."""
    searchable = (store.file_mode & 0o444) >> 2
    return settings_for(
        store,
        FilesystemSettings,
        min_free_bytes=store.min_free,
        folder_mode=store.file_mode | searchable,
    )


def s3_settings(name: str, store: S3BaseSection) -> S3Settings:
    """Settings of an S3 store. Raises StoreKeyUnreadable."""
    return settings_for(
        store,
        S3Settings,
        access_key=_secret(name, store.access_key, store.access_key_file),
        secret_key=_secret(name, store.secret_key, store.secret_key_file),
        ca_file=_path(store.ca_file),
        part_size_bytes=store.part_size,
    )


def _secret(store: str, given: SecretStr | None, file: str) -> Secret | None:
    """Return the key: a value takes precedence over a file. Raises StoreKeyUnreadable."""
    if given is not None:
        return Secret(given.get_secret_value())
    if not file:
        return None
    try:
        return read_secret(Path(file))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it holds no key"
        raise StoreKeyUnreadable(store, f"cannot read the key in {file}: {why}") from error


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


def ingest_settings(config: Config) -> IngestSettings:
    """Requirements on uploaded data."""
    uploads = config.uploads
    return settings_for(
        uploads,
        IngestSettings,
        max_size_bytes=uploads.max_size,
        formats=settings_for(uploads, FormatPolicy),
        remembers_broken=bool(uploads.remember_broken),
    )


def kills_uploads(config: Config) -> bool:
    """Whether a failed upload sets its image to ``killed``."""
    return config.uploads.on_failure == "kill"


def scrubber_settings(config: Config) -> ScrubberSettings:
    """When the scrubber deletes bytes and records."""
    return settings_for(
        config.scrubber,
        ScrubberSettings,
        quarantine=config.reconcile.quarantine,
        busy_for=config.claims.lease,
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
    limits = settings_for(config.reconcile, StrayLimits)
    return settings_for(config.reconcile, ReconcileSettings, limits=limits)


def task_service_settings(config: Config) -> TaskServiceSettings:
    """Access to tasks, limits for each project, and retention."""
    max_properties_bytes = config.uploads.max_properties_size
    return settings_for(
        config.tasks, TaskServiceSettings, max_properties_bytes=max_properties_bytes
    )


def runner_settings(config: Config) -> RunnerSettings:
    """Concurrency of tasks."""
    return settings_for(config.tasks, RunnerSettings, limits=dict(config.tasks.limits))


def key_file(config: Config) -> Path:
    """The file with the key for secrets."""
    return Path(config.tasks.key_file)


def fetch_settings(config: Config) -> FetchSettings:
    """Allowed addresses and time limits of fetches."""
    fetch = config.fetch
    return settings_for(
        fetch, FetchSettings, min_bytes_per_second=fetch.min_rate, ca_file=_path(fetch.ca_file)
    )


def qemu_img_settings(config: Config) -> QemuImgSettings:
    """Resource limits of one conversion."""
    return settings_for(
        config.conversion,
        QemuImgSettings,
        memory_bytes=config.conversion.memory,
        max_size_bytes=config.uploads.max_size,
    )


def scratch_settings(config: Config) -> ScratchSettings:
    """The scratch folder of conversions."""
    return ScratchSettings(config.conversion.scratch, config.conversion.min_free)


def wanted_events(config: Config) -> WantedEvents:
    """The events that are recorded; none without a receiver."""
    if not config.notifications.url:
        return frozenset()
    return frozenset().union(*map(matching_events, config.notifications.events))


def delivery_settings(config: Config) -> DeliverySettings:
    """The limits of deliveries."""
    return settings_for(config.notifications, DeliverySettings)


def _path(text: str) -> Path | None:
    return Path(text) if text else None
