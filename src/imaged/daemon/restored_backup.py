"""Checks a backup, and puts it back: the configuration, the catalog, and bytes that it has."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio

from imaged.catalogs.backup import (
    copy_privately,
    flush,
    require_replaceable,
    restore_catalog,
)
from imaged.catalogs.connect import without_password
from imaged.catalogs.sqlite.catalog_file import path_of
from imaged.catalogs.sqlite.engine import ROOT_UID
from imaged.config import Config, load
from imaged.config.stores import FilesystemSection
from imaged.core.backup import (
    BLOB_LISTS_FOLDER,
    MANIFEST_NAME,
    STORES_FOLDER,
    BackupFile,
    Manifest,
    StoreCopy,
    backup_name,
    why_file_refused,
)
from imaged.core.errors import BackupError
from imaged.core.place_marker import MARKER_NAME
from imaged.daemon.backup_files import (
    copy_blobs,
    has_blob,
    make_durable,
    names_in,
    os_errors_explained,
    read_blob_list,
    read_manifest,
    sha256_of,
)
from imaged.daemon.settings import password_file
from imaged.units import pluralize


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back, and where files that were in the way are now."""

    catalog: str  # the location
    stores: Sequence[StoreCopy]
    moved: Sequence[Path]


def check_backup(backup: Path) -> Manifest:
    """Check that a backup has all that was written, and that no bit of it is another one; of blobs
    the sizes are compared. Raises BackupError.
    """
    with os_errors_explained(f"{backup} is no backup"):
        if not (backup / MANIFEST_NAME).exists() and (names := names_in(backup)):
            raise BackupError(
                f"{backup} is a folder of backups: name one of them, such as the newest, "
                f"{backup / names[-1]}."
            )
        manifest = read_manifest(backup)
        reasons = [why for file in manifest.files if (why := _why_refused(backup, file))]
        reasons += [
            f"The store {store.name} lacks {pluralize(lost, 'blob')}, or bytes of them."
            for store in manifest.stores
            if (lost := store.blobs - _count_blobs(backup, store))
        ]
    if reasons:
        raise BackupError(f"{backup} is damaged: {' '.join(reasons)} Use another backup.")
    return manifest


def restore_backup(
    backup: Path, manifest: Manifest, file: Path | None, *, replace: bool
) -> Restored:
    """Put back what ``check_backup`` found whole.

    ``file``: settings to use instead of those of the backup, which are not put back then.
    ``replace``: move aside what is in the way, where it differs; otherwise it is refused.
    Raises BackupError, CatalogError, ConfigInvalid.
    """
    at = datetime.now(UTC) if replace else None
    with os_errors_explained("The backup cannot be restored"):
        if not file and manifest.catalog.kind == "sqlite":  # before anything is changed
            require_replaceable(path_of(manifest.catalog.location), replace=replace)
        moved = [] if file else _restore_files(backup, manifest.files, at)
        settings = Path(manifest.settings_file)
        config = load(file or (settings if settings.exists() else None))
        folders = _store_folders(config, manifest.stores)
        catalog = manifest.catalog
        put_catalog = partial(restore_catalog, replace_at=at)
        url, password = config.catalog.url, password_file(config)
        moved += anyio.run(put_catalog, catalog, backup / catalog.file, url, password)
        stores = [_restore_bytes(backup, name, folder) for name, folder in folders.items()]
    return Restored(without_password(url), stores, moved)


def _why_refused(backup: Path, file: BackupFile) -> str | None:
    path = backup / file.path
    try:
        return why_file_refused(file, path.stat().st_size, sha256_of(path))
    except FileNotFoundError:
        return why_file_refused(file, None, "")


def _count_blobs(backup: Path, store: StoreCopy) -> int:
    if not store.has_bytes:
        return store.blobs
    folder = backup / STORES_FOLDER / store.name
    listed = read_blob_list(backup / BLOB_LISTS_FOLDER / store.name)
    return sum(has_blob(folder / blob.key, blob.size_bytes) for blob in listed)


def _restore_files(backup: Path, files: Sequence[BackupFile], at: datetime | None) -> list[Path]:
    """Put files to their places; returns where those that were there are now."""
    placed = [file for file in files if file.restore_to]
    differing = [file for file in placed if _is_other(Path(file.restore_to), file)]
    in_the_way = [Path(file.restore_to) for file in differing if Path(file.restore_to).exists()]
    if in_the_way and at is None:
        raise BackupError(
            f"{', '.join(map(str, in_the_way))}: there already, and not the same as in the backup. "
            "--replace moves what differs aside; with --config FILE those settings are used, and "
            "none of the backup."
        )
    new = [_copy_beside(backup, file) for file in differing]  # a full disk has moved nothing yet
    moved = [path.rename(f"{path}.replaced-{backup_name(at, ())}") for path in in_the_way if at]
    for file, copy in zip(differing, new, strict=True):
        target = copy.rename(file.restore_to)
        flush(target.parent)
    return moved


def _copy_beside(backup: Path, file: BackupFile) -> Path:
    """Copy a file of the backup durably into the folder that it belongs to; returns its path."""
    target = Path(file.restore_to)
    target.parent.mkdir(parents=True, exist_ok=True)
    copy = target.with_name(f".{target.name}.restored")
    copy_privately(backup / file.path, copy)
    _give_to(copy, file)
    flush(copy)
    return copy


def _is_other(path: Path, file: BackupFile) -> bool:
    """Whether there is no file of this path, or one with other bytes."""
    try:
        return sha256_of(path) != file.sha256
    except FileNotFoundError:
        return True


def _give_to(path: Path, file: BackupFile) -> None:
    """Set permissions; if this is root, the owner and the group, too, if there are such."""
    path.chmod(int(file.mode, 8))
    if os.geteuid() == ROOT_UID:
        with suppress(LookupError):  # there is no such user on this machine
            shutil.chown(path, user=file.owner)
        with suppress(LookupError):
            shutil.chown(path, group=file.group)


def _store_folders(config: Config, stores: Sequence[StoreCopy]) -> Mapping[str, Path]:
    """The folders of the stores whose bytes are in the backup. Raises BackupError, OSError."""
    folders = {}
    for store in stores:
        if not store.has_bytes:
            continue
        section = config.stores.by_name.get(store.name)
        if not isinstance(section, FilesystemSection):
            raise BackupError(
                f"The backup has bytes of the store {store.name!r}, and the configuration has no "
                "folder of that name: add it to [stores]."
            )
        list(section.path.iterdir())  # raises OSError if it is missing: its disk is not mounted
        folders[store.name] = section.path
    return folders


def _restore_bytes(backup: Path, name: str, root: Path) -> StoreCopy:
    inside = backup / STORES_FOLDER / name
    if (inside / MARKER_NAME).exists() and not (root / MARKER_NAME).exists():
        shutil.copyfile(inside / MARKER_NAME, root / MARKER_NAME)
    owner = root.stat()
    copy = copy_blobs(name, backup / BLOB_LISTS_FOLDER / name, [inside], root, owner.st_uid)
    make_durable(root, owner)
    return copy
