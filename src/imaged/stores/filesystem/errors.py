"""The remedy for each error of the operating system, and the translation at the driver's border."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imaged.core.errors import StoreError, StoreFull

NO_SPACE_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

ERRNO_REMEDIES = {
    errno.ENOSPC: "free some space, or enlarge the filesystem",
    errno.EDQUOT: "raise the quota of the user that imaged runs as",
    errno.EFBIG: "the filesystem, or a limit of the process, allows no larger file",
    errno.EIO: "check the kernel's log for disk errors",
    errno.EROFS: "check the kernel's log for the reason, and mount it writable",
    errno.EACCES: "it must belong to the user that imaged runs as, with the right to write",
    errno.EPERM: "it must belong to the user that imaged runs as, with the right to write",
    errno.ENOENT: "is its filesystem mounted?",
    errno.ENOTDIR: "it must be a folder",
    errno.ESTALE: "mount its filesystem again",
    errno.EMFILE: "raise the limit of open files (LimitNOFILE) of the service",
    errno.ENFILE: "raise the system's limit of open files (fs.file-max)",
    errno.EXDEV: "it must be on one filesystem with the rest of the store",
    errno.ELOOP: "it must not be a symbolic link",
}


def store_error_of(store: str, path: Path, error: OSError) -> StoreError:
    """Translate an error about a path."""
    number = error.errno or 0
    why = f"cannot use {path}: {os.strerror(number) if number else error}"
    if number in ERRNO_REMEDIES:
        why = f"{why}; {ERRNO_REMEDIES[number]}"
    return StoreFull(store, why) if number in NO_SPACE_ERRNOS else StoreError(store, why)


@contextmanager
def os_errors_translated(store: str, path: Path) -> Iterator[None]:
    """Translate every OSError of the block. Raises StoreFull, StoreError."""
    try:
        yield
    except OSError as error:
        raise store_error_of(store, path, error) from error
