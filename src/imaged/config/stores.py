"""``[stores.NAME]`` and ``[exports.NAME]``: a model for each kind, and the tables of all names.

Export destinations are outside every store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from imaged.config.sections import Section, required, secret, setting
from imaged.config.types import (
    AttemptCount,
    BucketName,
    Concurrency,
    Duration,
    FileMode,
    FolderPath,
    KeyPrefix,
    PartSize,
    PositiveDuration,
    SecretText,
    Size,
    WrongSetting,
    is_store_name,
)
from imaged.config.urls import Endpoint

_STORE_DESCRIPTION = "A description for users, in the list of stores."


class FilesystemBaseSection(Section):
    """A folder that keeps bytes."""

    type: Literal["filesystem"] = required("The kind: a folder.")
    path: FolderPath = required("The folder. It must exist, so that a missing mount is noticed.")
    min_free: Size = setting(
        "1GiB",
        "Space that must stay free: uploads that would need it get 413, so that "
        "deletes and the catalog work on a full disk.",
    )
    file_mode: FileMode = setting(
        "0600", "Permissions of the files; folders get matching execute bits."
    )

    @property
    def place(self) -> str:
        """Where the bytes are, for people."""
        return str(self.path)

    def is_same_place(self, other: FilesystemBaseSection) -> bool:
        """Whether one folder is the other, or lies in it."""
        here, there = self.path.resolve(), other.path.resolve()
        return here.is_relative_to(there) or there.is_relative_to(here)


class S3BaseSection(Section):
    """A bucket that keeps bytes, of any service that speaks S3."""

    type: Literal["s3"] = required("The kind: a bucket.")
    endpoint: Endpoint = setting("", "The address of the service; default: that of AWS.")
    bucket: BucketName = required("The bucket. It must exist.")
    prefix: KeyPrefix = setting(
        "", 'A prefix of all keys, such as "images", if other programs use the bucket too.'
    )
    region: str = setting("us-east-1", "The region that requests are signed for.")
    access_key_file: str = setting(
        "",
        "A file with the access key. Without any key, imaged looks in the usual places: AWS_… in "
        "the environment, shared credentials, the role of the machine.",
    )
    secret_key_file: str = setting("", "A file with the secret key.")
    access_key: SecretText | None = secret("The access key itself; it overrides access_key_file.")
    secret_key: SecretText | None = secret("The secret key itself; it overrides secret_key_file.")
    addressing: Literal["auto", "path", "virtual"] = setting(
        "auto",
        'Where requests name the bucket: in the path, or in the host name. "auto": in the '
        "path if there is an endpoint.",
    )
    ca_file: str = setting(
        "", "Certificates (PEM) of authorities to trust for the service; default: the system's."
    )
    part_size: PartSize = setting(
        "8MiB",
        "The size of the first parts of an upload; later ones grow, so that 10,000 of them are "
        "enough for 5 TiB.",
    )
    parts_in_flight: Concurrency = setting(
        8,
        "How many parts of all uploads are sent at the same time; each upload may send one in any "
        "case. They are held in memory, within uploads.transfer_budget.",
    )
    checksum: Literal["crc32c", "crc32", "md5", "none"] = setting(
        "crc32c",
        "The checksum sent with each part, which the service compares; crc32c costs least.",
    )
    connect_timeout: PositiveDuration = setting("5s", "The time limit for connecting.")
    read_timeout: PositiveDuration = setting("30s", "The time limit for silence of the service.")
    attempts: AttemptCount = setting(5, "How often each request is tried, with growing pauses.")
    retry_for: Duration = setting(
        "30s",
        "How long a request is retried while the service refuses connections or answers 5xx or "
        "429, whatever the number of tries; long enough for a gateway to restart.",
    )

    @model_validator(mode="after")
    def _require_both_keys(self) -> S3BaseSection:
        has_access = bool(self.access_key or self.access_key_file)
        has_secret = bool(self.secret_key or self.secret_key_file)
        if has_access != has_secret:
            given, missing = ("access", "secret") if has_access else ("secret", "access")
            raise WrongSetting(f"{missing}_key_file", f"must be set, because the {given} key is")
        return self

    @property
    def place(self) -> str:
        """Where the bytes are, for people."""
        return f"{self.bucket}/{self.prefix}"

    def is_same_place(self, other: S3BaseSection) -> bool:
        """Whether both keep the same objects."""
        return (self.endpoint, self.bucket, self.prefix) == (
            other.endpoint,
            other.bucket,
            other.prefix,
        )

    def overlaps(self, other: S3BaseSection) -> bool:
        """Whether one prefix is the other, or lies in it."""
        here, there = (f"{prefix}/".lstrip("/") for prefix in (self.prefix, other.prefix))
        is_same_bucket = (self.endpoint, self.bucket) == (other.endpoint, other.bucket)
        return is_same_bucket and (here.startswith(there) or there.startswith(here))


class FilesystemSection(FilesystemBaseSection):
    """A folder that keeps bytes."""

    description: str = setting("", _STORE_DESCRIPTION)


class S3Section(S3BaseSection):
    """A bucket that keeps bytes, of any service that speaks S3."""

    description: str = setting("", _STORE_DESCRIPTION)


StoreSection = Annotated[FilesystemSection | S3Section, Field(discriminator="type")]

#: The kinds of stores, by ``type``.
STORE_TYPES: Mapping[str, type[FilesystemSection | S3Section]] = {
    "filesystem": FilesystemSection,
    "s3": S3Section,
}


class StoresSection(Section):
    """Stores of bytes: one table [stores.NAME] for each."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, StoreSection] = Field(init=False)
    DEFAULT: ClassVar[Mapping[str, Any]] = {
        "local": {"type": "filesystem", "path": "/var/lib/imaged/images"}
    }

    default: str = setting("local", "The store that new images go to.")

    @property
    def by_name(self) -> dict[str, FilesystemSection | S3Section]:
        """The stores."""
        return dict(self.__pydantic_extra__)

    @model_validator(mode="after")
    def _require_known_default(self) -> StoresSection:
        if wrong := [name for name in self.by_name if not is_store_name(name)]:
            raise WrongSetting(wrong[0], "is not a valid name for a store: use a-z, 0-9, - and _")
        if self.default not in self.by_name:
            names = ", ".join(self.by_name) or "none"
            raise WrongSetting("default", f"must be the name of a store; there is {names}")
        return self

    @model_validator(mode="after")
    def _require_separate_stores(self) -> StoresSection:
        for (one, here), (other, there) in combinations(self.by_name.items(), 2):
            match here, there:
                case (FilesystemSection(), FilesystemSection()) if here.is_same_place(there):
                    raise WrongSetting(
                        other,
                        f"must not have the same folder as {one}, or one in the other; here it is "
                        f'"{there.place}"',
                    )
                case (S3Section(), S3Section()) if here.is_same_place(there):
                    raise WrongSetting(
                        other,
                        f"must not have the same bucket and the same prefix as {one}; here it is "
                        f'"{there.place}"',
                    )
        return self


ExportSection = Annotated[FilesystemBaseSection | S3BaseSection, Field(discriminator="type")]

#: The kinds of destinations, by ``type``.
EXPORT_TYPES: Mapping[str, type[FilesystemBaseSection | S3BaseSection]] = {
    "filesystem": FilesystemBaseSection,
    "s3": S3BaseSection,
}


class ExportsSection(Section):
    """Export destinations: one table [exports.NAME] for each."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, ExportSection] = Field(init=False)

    @property
    def by_name(self) -> dict[str, FilesystemBaseSection | S3BaseSection]:
        """The destinations."""
        return dict(self.__pydantic_extra__)

    @model_validator(mode="after")
    def _require_valid_names(self) -> ExportsSection:
        if wrong := [name for name in self.by_name if not is_store_name(name)]:
            raise WrongSetting(
                wrong[0], "is not a valid name for a destination: use a-z, 0-9, - and _"
            )
        return self


def overlaps(exports: ExportsSection, stores: StoresSection) -> Iterator[tuple[str, str]]:
    """Each destination that equals, lies in or contains a store, with the store."""
    for name, here in exports.by_name.items():
        for store, there in stores.by_name.items():
            match here, there:
                case (FilesystemBaseSection(), FilesystemBaseSection()) if here.is_same_place(
                    there
                ):
                    yield name, store
                case (S3BaseSection(), S3BaseSection()) if here.overlaps(there):
                    yield name, store
