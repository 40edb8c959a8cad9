"""The files of backups: manifests, written and read; blobs, copied; and how both get durable."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from anyio import to_thread

from imaged.catalogs.backup import flush
from imaged.catalogs.sqlite.engine import give_to
from imaged.core.backup import (
    BACKUP_FORMAT,
    MANIFEST_DIGEST_NAME,
    MANIFEST_NAME,
    Manifest,
    StoreCopy,
    backups_in,
    is_recent,
)
from imaged.core.blob import is_key
from imaged.core.errors import BackupError
from imaged.units import approximate_duration

NEVER = datetime.fromtimestamp(0, UTC)


def newest_backup(folder: Path) -> Manifest | None:
    """The manifest of the newest whole backup in a folder; None if there is none.

    Raises BackupError if the folder cannot be read.
    """
    with os_errors_explained(f"The folder of backups {folder} cannot be read"):
        names = names_in(folder)
    for name in reversed(names):
        with suppress(BackupError):
            return read_manifest(folder / name)
    return None


def backup_warning(folder: Path) -> str | None:
    """That there is no recent backup in a folder, as a sentence without its end, or None."""
    try:
        newest = newest_backup(folder)
    except BackupError as error:
        return str(error).rstrip(".")
    if newest is None:
        return f"There is no backup in {folder}"
    now = datetime.now(UTC)
    if is_recent(newest.finished_at, now):
        return None
    age = approximate_duration(now - newest.finished_at)
    return f"The newest backup in {folder} is {age} old"


async def time_of_newest_backup(folder: Path) -> datetime:
    """When the newest whole backup in a folder was made; 1970 if none can be found there."""
    try:
        newest = await to_thread.run_sync(newest_backup, folder, abandon_on_cancel=True)
    except BackupError:  # `imaged status` and `imaged doctor` say why
        return NEVER
    return NEVER if newest is None else newest.finished_at


def names_in(folder: Path) -> Sequence[str]:
    """The names of whole backups in a folder, the oldest first. Raises OSError."""
    return backups_in(path.name for path in folder.iterdir())


def read_manifest(backup: Path) -> Manifest:
    """Read the manifest of a backup. Raises BackupError if it is not what was written."""
    with os_errors_explained(f"{backup} is not a whole backup"):
        data = (backup / MANIFEST_NAME).read_bytes()
        digest = (backup / MANIFEST_DIGEST_NAME).read_text("ascii", "replace")
    if digest != _digest_line(data):
        raise BackupError(f"{backup} is damaged: {MANIFEST_NAME} is not what was written.")
    try:
        if (written := msgspec.json.decode(data, type=_Versioned).format) != BACKUP_FORMAT:
            raise BackupError(f"{backup} has the format {written}, of another version of imaged.")
        return msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BackupError(f"{backup} is damaged: {MANIFEST_NAME}: {error}.") from error


def write_manifest(backup: Path, manifest: Manifest) -> None:
    """Write the manifest and its digest. Raises OSError."""
    data = msgspec.json.format(msgspec.json.encode(manifest)) + b"\n"
    for name, content in (
        (MANIFEST_NAME, data),
        (MANIFEST_DIGEST_NAME, _digest_line(data).encode()),
    ):
        (backup / name).write_bytes(content)


def _digest_line(data: bytes) -> str:
    return f"{hashlib.sha256(data).hexdigest()}  {MANIFEST_NAME}\n"


@dataclass(frozen=True, slots=True)
class _Versioned:
    """The part of a manifest that all formats have."""

    format: int


def sha256_of(file: Path) -> str:
    """The digest of a file, in hexadecimal digits. Raises OSError."""
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


@contextmanager
def os_errors_explained(what: str) -> Iterator[None]:
    """Raise BackupError for each OSError."""
    try:
        yield
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise BackupError(f"{what}:{where} {error.strerror or error}.") from error


def copy_blobs(
    store: str, blob_list: Path, sources: Sequence[Path], target: Path, owner: int | None = None
) -> StoreCopy:
    """Give the target folder every blob of a list that a source folder has, in the size that the
    list tells; a blob that is there already stays.

    ``owner``: the user to whom a blob must belong to get a second name instead of a copy.
    Raises BackupError, OSError.
    """
    copy = StoreCopy(store, "filesystem", has_bytes=True)
    for blob in read_blob_list(blob_list):
        places = [source / blob.key for source in sources]
        if has_blob(target / blob.key, blob.size_bytes) or _bring(
            places, target / blob.key, blob.size_bytes, owner
        ):
            size_bytes = copy.size_bytes + blob.size_bytes
            copy = replace(copy, blobs=copy.blobs + 1, size_bytes=size_bytes)
        else:
            copy = replace(copy, missing=copy.missing + 1)
    return copy


@dataclass(frozen=True, slots=True)
class ListedBlob:
    """A line of a list of blobs."""

    key: str
    size_bytes: int


def read_blob_list(path: Path) -> Iterator[ListedBlob]:
    """Read the list of a store's blobs. Raises BackupError, OSError."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            size, _, key = line.rstrip("\n").partition(" ")
            if not is_key(key) or not size.isdecimal():
                raise BackupError(f"{path} has a line that names no blob.")
            yield ListedBlob(key, int(size))


def _bring(sources: Sequence[Path], target: Path, size_bytes: int, owner: int | None) -> bool:
    """Whether a source has the blob, which the target has then, too.

    Bytes never change: so a hard link is enough, if one source is on the target's filesystem.
    """
    found = [source for source in sources if has_blob(source, size_bytes)]
    target.parent.mkdir(exist_ok=True, mode=0o700)
    new = target.with_name(f".{target.name}.new")
    new.unlink(missing_ok=True)
    if any(_link(source, new, owner) for source in found) or any(
        _copy(source, new) for source in found
    ):
        new.rename(target)
        return True
    return False


def _link(source: Path, target: Path, owner: int | None) -> bool:
    try:
        if owner is not None and source.stat().st_uid != owner:
            return False
        os.link(source, target)
    except OSError:  # another filesystem, or one without hard links; or it is gone
        return False
    return True


def _copy(source: Path, target: Path) -> bool:
    try:
        shutil.copy(source, target)
    except FileNotFoundError:
        return False
    return True


def has_blob(path: Path, size_bytes: int) -> bool:
    """Whether a file is there and has this size."""
    try:
        return path.stat().st_size == size_bytes
    except FileNotFoundError:
        return False


def make_durable(root: Path, owner: os.stat_result) -> None:
    """Flush folders and their files to the disk; if this is root, give them to a user. Files with
    several names are left alone: they are blobs that are on the disk, and belong to the store.
    """
    for folder, _, names in os.walk(root, topdown=False):
        files = [path for name in names if _has_one_name(path := Path(folder, name))]
        for path in (*files, Path(folder)):
            give_to(path, owner)
            flush(path)


def _has_one_name(path: Path) -> bool:
    """Whether this is a file that has no other name; a link is none."""
    found = path.lstat()
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1
