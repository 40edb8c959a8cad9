"""Makes backups while daemons work, and reads them; ``core/backup.py`` draws what is in one."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import structlog

from imaged import DEFAULT_CONFIG_FILE
from imaged.catalogs.backup import copy_catalog, flush
from imaged.catalogs.postgresql.url import files_in_url
from imaged.catalogs.sqlite.engine import give_to
from imaged.config import Config, find_sources
from imaged.config.model import named_files
from imaged.config.secrets import CREDENTIALS_VARIABLE
from imaged.config.stores import FilesystemSection
from imaged.core.backup import (
    BACKUP_FORMAT,
    BLOB_LISTS_FOLDER,
    CREDENTIALS_FOLDER,
    FILES_FOLDER,
    STORES_FOLDER,
    UNFINISHED_PREFIX,
    BackupFile,
    CatalogCopy,
    Manifest,
    StoreCopy,
    backup_name,
    superfluous,
)
from imaged.core.errors import BackupError
from imaged.core.place_marker import MARKER_NAME
from imaged.daemon.backup_files import (
    copy_blobs,
    make_durable,
    names_in,
    os_errors_explained,
    sha256_of,
    write_manifest,
)
from imaged.daemon.settings import password_file

log = structlog.get_logger()

LOCK_NAME = ".imaged-backup.lock"
MADE_WHEN_NEEDED = frozenset({"tasks.key_file"})  # these files may be missing


@dataclass(frozen=True, slots=True)
class MadeBackup:
    """A new backup, and the older ones that were removed."""

    folder: Path
    manifest: Manifest
    removed: Sequence[Path]


def make_backup(
    config: Config, file: Path | None, folder: Path, *, with_bytes: bool, keep: int | None
) -> MadeBackup:
    """Make a backup in the folder, and then remove older ones, so that ``keep`` remain.

    ``file``: that of the settings, if it is not the default. Raises BackupError, CatalogError.
    """
    with os_errors_explained(f"The backup in {folder} failed"), _locked(folder), _private_files():
        for leftover in folder.glob(f"{UNFINISHED_PREFIX}*"):
            shutil.rmtree(leftover)
        names = names_in(folder)
        began = datetime.now(UTC)
        unfinished = folder / f"{UNFINISHED_PREFIX}{uuid4()}"
        unfinished.mkdir(0o700)
        try:
            writer = BackupWriter(config, unfinished, folder / names[-1] if names else None)
            manifest = writer.write(file, began, with_bytes=with_bytes)
            made = unfinished.rename(folder / backup_name(began, names))
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        flush(folder)
        unneeded = superfluous([*names, made.name], keep) if keep else ()
        for name in unneeded:  # renamed first: a removal that is broken off leaves half a backup
            shutil.rmtree((folder / name).rename(folder / f"{UNFINISHED_PREFIX}{name}"))
    log.info(
        "backup.made",
        folder=str(made),
        images=manifest.catalog.images,
        stores_with_bytes=[store.name for store in manifest.stores if store.has_bytes],
        duration_s=round((manifest.finished_at - began).total_seconds(), 3),
    )
    return MadeBackup(made, manifest, [folder / name for name in unneeded])


class BackupWriter:
    """Writes one backup. ``previous``: an older one; blobs that it has are not copied again."""

    def __init__(self, config: Config, folder: Path, previous: Path | None) -> None:
        self._config = config
        self._folder = folder
        self._previous = previous
        self._files: list[BackupFile] = []

    def write(self, file: Path | None, began: datetime, *, with_bytes: bool) -> Manifest:
        """Write everything durably, the manifest last.

        The catalog comes first: nearly all bytes that its copy names are still there when they are
        copied, because bytes never change, and those of deleted images wait for a delay.
        """
        sources = find_sources(file)
        lists = self._blob_lists() if with_bytes else {}
        catalog = self._copy_catalog(lists)
        self._copy_files([Path(source).absolute() for source in sources.files])
        manifest = Manifest(
            format=BACKUP_FORMAT,
            version=version("imaged"),
            started_at=began,
            stores=[
                self._copy_bytes(name, section.path, lists[name])
                if isinstance(section, FilesystemSection) and name in lists
                else StoreCopy(name, section.type)
                for name, section in self._config.stores.by_name.items()
            ],
            finished_at=datetime.now(UTC),
            settings_file=str((file or DEFAULT_CONFIG_FILE).absolute()),
            catalog=catalog,
            files=self._files,
            variables=sources.variables,
        )
        write_manifest(self._folder, manifest)
        make_durable(self._folder, self._folder.parent.stat())
        return manifest

    def _blob_lists(self) -> Mapping[str, Path]:
        """A file for each store whose bytes are copied, to list its blobs in."""
        (folder := self._folder / BLOB_LISTS_FOLDER).mkdir()
        return {
            name: folder / name
            for name, section in self._config.stores.by_name.items()
            if isinstance(section, FilesystemSection)
        }

    def _copy_catalog(self, blob_lists: Mapping[str, Path]) -> CatalogCopy:
        url, password = self._config.catalog.url, password_file(self._config)
        copy = anyio.run(copy_catalog, url, password, self._folder, blob_lists)
        for file in (self._folder / copy.file, *blob_lists.values()):
            self._record(file)
        return copy

    def _copy_files(self, settings: Sequence[Path]) -> None:
        """Copy the settings, and the files that they name."""
        named = {
            path
            for setting, path in named_files(self._config).items()
            if path.exists() or setting not in MADE_WHEN_NEEDED
        }
        secrets = os.environ.get(CREDENTIALS_VARIABLE)
        for source in (*settings, *sorted(named | files_in_url(self._config.catalog.url))):
            if secrets and source.is_relative_to(secrets):
                self._copy_file(source, Path(CREDENTIALS_FOLDER, source.name), "")
            else:
                inside = Path(FILES_FOLDER, source.relative_to("/"))
                self._copy_file(source, inside, str(source))

    def _copy_file(self, source: Path, inside: Path, restore_to: str) -> None:
        target = self._folder / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        mode = f"{stat.S_IMODE(source.stat().st_mode):04o}"
        owner, group = _name_or_nothing(source.owner), _name_or_nothing(source.group)
        self._record(target, restore_to=restore_to, mode=mode, owner=owner, group=group)

    def _record(self, file: Path, **facts: Any) -> None:
        """Put a file of the backup into the manifest."""
        path = str(file.relative_to(self._folder))
        self._files.append(BackupFile(path, file.stat().st_size, sha256_of(file), **facts))

    def _copy_bytes(self, name: str, root: Path, blob_list: Path) -> StoreCopy:
        inside = Path(STORES_FOLDER, name)
        (self._folder / inside).mkdir(parents=True)
        older = [] if self._previous is None else [self._previous / inside]
        with suppress(FileNotFoundError):
            shutil.copyfile(root / MARKER_NAME, self._folder / inside / MARKER_NAME)
        return copy_blobs(name, blob_list, [root, *older], self._folder / inside)


def _name_or_nothing(name: Callable[[], str]) -> str:
    """The name of a user or a group, "" if it has none."""
    try:
        return name()
    except KeyError:
        return ""


@contextmanager
def _private_files() -> Iterator[None]:
    """Let only the owner read files that the block makes: secrets are among them."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of the folder of backups. Raises BackupError, OSError.

    A missing folder is not made: it may be on a disk that is not mounted.
    """
    if not folder.is_dir():
        raise BackupError(
            f"There is no folder {folder}. Mount its disk, or make it: install -d -m 700 {folder}"
        )
    lock = folder / LOCK_NAME
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        give_to(lock, folder.stat())
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BackupError(f"Another backup is being made in {folder}.") from error
        yield
    finally:
        os.close(descriptor)
