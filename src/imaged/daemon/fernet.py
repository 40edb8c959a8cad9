"""Encrypts the secret part of a task's input before the catalog stores it.

The key is in a separate file, so the catalog or its backup alone reveals no secrets. The key is
created for the first encryption, never for a decryption. Instances that share a catalog need the
same key file.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from imaged.core.errors import SecretKeyUnavailable, SecretUnreadable

if TYPE_CHECKING:
    from cryptography.fernet import Fernet


class FernetSecretBox:
    """Encrypts and decrypts with the key in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def seal(self, secret: bytes) -> bytes:
        """Encrypt a secret. Raises SecretKeyUnavailable if there is no key and none can be made."""
        with self._explained():
            if not self._path.exists():
                self._make()
        return self._fernet().encrypt(secret)

    def open(self, sealed: bytes) -> bytes:
        """Decrypt a secret. Raises SecretUnreadable if another key encrypted it, and
        SecretKeyUnavailable.
        """
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet().decrypt(sealed)
        except InvalidToken:
            raise SecretUnreadable from None

    def _fernet(self) -> Fernet:
        from cryptography.fernet import Fernet

        with self._explained():
            return Fernet(self._path.read_bytes().strip())

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SecretKeyUnavailable(str(self._path), error.strerror or str(error)) from error
        except ValueError as error:
            raise SecretKeyUnavailable(str(self._path), "it holds no key") from error

    def _make(self) -> None:
        """Create the key file atomically. If another process is faster, its key remains."""
        from cryptography.fernet import Fernet

        number, name = tempfile.mkstemp(prefix=".task-key-", dir=self._path.parent)  # 0600
        try:
            with os.fdopen(number, "wb") as file:
                file.write(Fernet.generate_key() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(name, self._path)
        finally:
            Path(name).unlink()
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # before the key is used
        finally:
            os.close(folder)
