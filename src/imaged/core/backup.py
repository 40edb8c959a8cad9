"""A backup: a folder with a copy of the catalog, the configuration and its secrets, and on request
the bytes of images; and the decisions about such folders.

    DIR/2026-11-30T09-15-00Z/
      manifest.json       what is in it: sizes and SHA-256 of all files but blobs
      manifest.sha256     the digest of the manifest, as `sha256sum --check` reads it
      catalog.db          the copy of the catalog; of PostgreSQL catalog.dump, for pg_restore
      files/…             settings, tokens and keys, each by its path on the machine
      credentials/NAME    secrets that systemd passed
      blobs/STORE         with bytes: size and key of each blob of the store that the copy knows
      stores/STORE/…      with bytes: the store's marker and blobs, as in its folder
    DIR/.unfinished-…     a backup that is being made or removed, or was broken off

A backup gets its name when all of it is on the disk: so a broken-off one is never taken for one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from imaged.core.place_marker import Place

BACKUP_FORMAT = 1
MANIFEST_NAME, MANIFEST_DIGEST_NAME = "manifest.json", "manifest.sha256"
FILES_FOLDER, CREDENTIALS_FOLDER = "files", "credentials"
BLOB_LISTS_FOLDER, STORES_FOLDER = "blobs", "stores"
UNFINISHED_PREFIX = ".unfinished-"
MAX_AGE = timedelta(days=2)  # of the newest backup, as in monitoring/alerts.yml
_NAME_FORMAT = "%Y-%m-%dT%H-%M-%SZ"


@dataclass(frozen=True, slots=True)
class BackupFile:
    """A file in a backup. ``restore_to``: its path on the machine; "" for files that are put back
    in another way: the catalog, lists of blobs, and credentials.
    """

    path: str  # in the backup
    size_bytes: int
    sha256: str
    restore_to: str = ""
    mode: str = "0600"  # permissions in octal digits
    owner: str = ""  # the name of a user, and of a group; "" if it has none
    group: str = ""


@dataclass(frozen=True, slots=True)
class CatalogCopy:
    """The copy of a catalog. All facts are of the one moment that the copy shows."""

    file: str  # in the backup
    kind: str  # "sqlite" or "postgresql"
    location: str  # of the catalog: its URL without the password
    revision: str
    catalog_id: UUID
    images: int  # that are not deleted
    blobs: int  # that images need
    places: Sequence[Place] = ()
    dump_version: int = 0  # of pg_dump, its major number


@dataclass(frozen=True, slots=True)
class StoreCopy:
    """A store, and whether its bytes are in the backup. ``missing``: blobs that the copy of the
    catalog knows and the store did not have, because they were deleted meanwhile, or are lost.
    """

    name: str
    type: str
    has_bytes: bool = False
    blobs: int = 0
    size_bytes: int = 0
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is in a backup. ``variables``: names of environment variables that were settings, too;
    their values are not in it.
    """

    format: int
    version: str  # of imaged
    started_at: datetime
    finished_at: datetime
    settings_file: str  # the path on the machine
    catalog: CatalogCopy
    stores: Sequence[StoreCopy]
    files: Sequence[BackupFile]
    variables: Sequence[str] = ()


def backup_name(at: datetime, taken: Iterable[str]) -> str:
    """The name of a backup that began then; a later second if that is taken."""
    names = frozenset(taken)
    while (name := at.astimezone(UTC).strftime(_NAME_FORMAT)) in names:
        at += timedelta(seconds=1)
    return name


def is_backup_name(name: str) -> bool:
    """Whether a finished backup may have this name."""
    try:
        return datetime.strptime(name, _NAME_FORMAT).strftime(_NAME_FORMAT) == name  # noqa: DTZ007
    except ValueError:
        return False


def backups_in(names: Iterable[str]) -> Sequence[str]:
    """The names of finished backups among all names in a folder, the oldest first."""
    return sorted(filter(is_backup_name, names))


def superfluous(names: Iterable[str], keep: int) -> Sequence[str]:
    """The backups to remove, so that the newest ``keep`` remain."""
    return backups_in(names)[:-keep]


def is_recent(finished_at: datetime, now: datetime) -> bool:
    """Whether a backup is as new as a nightly one should be."""
    return now - finished_at <= MAX_AGE


def why_file_refused(file: BackupFile, size_bytes: int | None, sha256: str) -> str | None:
    """Why a file of a backup is not what was written, as a sentence; None if it is.

    ``size_bytes``: None if it is missing.
    """
    if size_bytes is None:
        return f"{file.path} is missing."
    if size_bytes != file.size_bytes:
        return f"{file.path} has {size_bytes} bytes, and {file.size_bytes} were written."
    if sha256 != file.sha256:
        return f"{file.path} has other bytes than those that were written (SHA-256)."
    return None
