"""Keeps what nobody may read: the secret part of a task's input, encrypted where it is stored.

The key is a file of its own, so that whoever has the catalog, or a backup of it, has no secrets.
It is made when something is sealed first, and never to open what another key sealed. Instances
that share a catalog need the same file.
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
    """Seals with the key in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def seal(self, secret: bytes) -> bytes:
        """Encrypt it. Raises SecretKeyUnavailable where there is no key, and none can be made."""
        with self._explained():
            if not self._path.exists():
                self._make()
        return self._fernet().encrypt(secret)

    def open(self, sealed: bytes) -> bytes:
        """Decrypt it. Raises SecretUnreadable where it was sealed with another key;
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
        """Whole or not at all; where somebody else is faster, his key counts."""
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
            os.fsync(folder)  # before anything is sealed with it
        finally:
            os.close(folder)
