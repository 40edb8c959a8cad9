"""The settings of stores: one model for each kind, and the table that holds them all."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from imaged.config.s3_types import (
    AttemptCount,
    BucketName,
    Endpoint,
    KeyPrefix,
    PartSize,
    PositiveDuration,
    SecretText,
)
from imaged.config.sections import Section, required, secret, setting
from imaged.config.types import Concurrency, Duration, FileMode, FolderPath, Size, is_store_name

_STORE_DESCRIPTION = "What users are told about it, in the list of stores."


class FilesystemBaseSection(Section):
    """A folder that keeps bytes."""

    type: Literal["filesystem"] = required("What keeps the bytes: a folder.")
    path: FolderPath = required("The folder. It must exist, so that a missing mount is noticed.")
    min_free: Size = setting(
        "1GiB",
        "How much space stays free: what would need it is refused (uploads with 413), so that "
        "deletes and the catalog go on working on a full disk.",
    )
    file_mode: FileMode = setting(
        "0600", "Permissions of the files; folders get the execute bits that belong to them."
    )

    def is_same_place(self, other: FilesystemBaseSection) -> bool:
        """Whether one folder is the other, or lies in it."""
        here, there = self.path.resolve(), other.path.resolve()
        return here.is_relative_to(there) or there.is_relative_to(here)


class S3BaseSection(Section):
    """A bucket that keeps bytes, of any service that speaks S3."""

    type: Literal["s3"] = required("What keeps the bytes: a bucket.")
    endpoint: Endpoint = setting("", "The address of the service; default: that of AWS.")
    bucket: BucketName = required("The bucket. It must exist.")
    prefix: KeyPrefix = setting(
        "", 'A folder in the bucket, such as "images", where others may use the rest of it.'
    )
    region: str = setting("us-east-1", "The region that requests are signed for.")
    access_key_file: str = setting(
        "",
        "A file that holds the access key. Without any key, the usual places are asked: AWS_… in "
        "the environment, shared credentials, the role of the machine.",
    )
    secret_key_file: str = setting("", "A file that holds the secret key.")
    access_key: SecretText | None = secret("The access key itself; it wins over access_key_file.")
    secret_key: SecretText | None = secret("The secret key itself; it wins over secret_key_file.")
    addressing: Literal["auto", "path", "virtual"] = setting(
        "auto",
        'Where requests name the bucket: in the path, or in the name of the host. "auto": in the '
        "path where there is an endpoint.",
    )
    ca_file: str = setting(
        "", "Certificates (PEM) that the service's one must go back to; default: the usual ones."
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
    checksum: Literal["crc32", "md5", "none"] = setting(
        "crc32",
        "The checksum that goes with each part, for the service to check; crc32 costs least.",
    )
    connect_timeout: PositiveDuration = setting("5s", "How long a connection may take to be made.")
    read_timeout: PositiveDuration = setting("30s", "How long the service may be silent.")
    attempts: AttemptCount = setting(
        5, "How often each request is tried, with growing pauses in between."
    )
    retry_for: Duration = setting(
        "30s",
        "How long each request is tried while the service refuses connections or answers 5xx or "
        "429, however often that is; long enough for a gateway to restart.",
    )

    @model_validator(mode="after")
    def _require_both_keys(self) -> S3BaseSection:
        has_access = bool(self.access_key or self.access_key_file)
        has_secret = bool(self.secret_key or self.secret_key_file)
        if has_access != has_secret:
            given, missing = ("access", "secret") if has_access else ("secret", "access")
            raise ValueError(f"has the {given} key, and the {missing} key is missing")
        return self

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

#: The kinds of stores, by what ``type`` calls them.
STORE_TYPES: Mapping[str, type[FilesystemSection | S3Section]] = {
    "filesystem": FilesystemSection,
    "s3": S3Section,
}


class StoresSection(Section):
    """Where bytes are kept: one table [stores.NAME] for each store."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, StoreSection] = Field(init=False)
    DEFAULT: ClassVar[Mapping[str, Any]] = {
        "local": {"type": "filesystem", "path": "/var/lib/imaged/images"}
    }

    default: str = setting("local", "The store that new images go to.")

    @property
    def by_name(self) -> dict[str, FilesystemSection | S3Section]:
        """The tables."""
        return dict(self.__pydantic_extra__)

    @model_validator(mode="after")
    def _require_known_default(self) -> StoresSection:
        if wrong := [name for name in self.by_name if not is_store_name(name)]:
            raise ValueError(f"{wrong[0]} is no name for a store: use a-z, 0-9, - and _")
        if self.default not in self.by_name:
            names = ", ".join(self.by_name) or "none"
            raise ValueError(f"default must be the name of a store; there is {names}")
        return self

    @model_validator(mode="after")
    def _require_separate_stores(self) -> StoresSection:
        for (one, here), (other, there) in combinations(self.by_name.items(), 2):
            match here, there:
                case (FilesystemSection(), FilesystemSection()) if here.is_same_place(there):
                    raise ValueError(
                        f"{one} and {other} must not have the same folder, or one in the other"
                    )
                case (S3Section(), S3Section()) if here.is_same_place(there):
                    raise ValueError(
                        f"{one} and {other} must not have the same bucket and the same prefix"
                    )
        return self
