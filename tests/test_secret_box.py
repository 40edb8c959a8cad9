"""The seal: what is stored cannot be read without the key."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imaged.core.errors import SecretKeyUnavailable, SecretUnreadable
from imaged.daemon.fernet import FernetSecretBox

SECRET = b'{"source_token": "gAAAA"}'


def test_a_sealed_secret_can_be_opened(tmp_path: Path) -> None:
    """Every process with the key reads it; other users cannot read the file."""
    path = tmp_path / "task.key"
    sealed = FernetSecretBox(path).seal(SECRET)

    assert SECRET not in sealed
    assert FernetSecretBox(path).open(sealed) == SECRET
    assert FernetSecretBox(path).seal(SECRET) != sealed
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["task.key"]


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    """Nor does what is no key."""
    sealed = FernetSecretBox(tmp_path / "one").seal(SECRET)

    FernetSecretBox(tmp_path / "two").seal(SECRET)
    with pytest.raises(SecretUnreadable):
        FernetSecretBox(tmp_path / "two").open(sealed)
    with pytest.raises(SecretUnreadable):
        FernetSecretBox(tmp_path / "one").open(b"nonsense")


def test_to_open_makes_no_key(tmp_path: Path) -> None:
    """A key that was made for it would open nothing, and be in the way of the right one."""
    sealed = FernetSecretBox(tmp_path / "one").seal(SECRET)

    with pytest.raises(SecretKeyUnavailable):
        FernetSecretBox(tmp_path / "two").open(sealed)

    assert not (tmp_path / "two").exists()


def test_a_key_is_durable_before_it_seals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder is synced too: otherwise a power cut takes the key of what is stored."""
    synced: list[int] = []

    def note(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", note)
    path = tmp_path / "task.key"
    FernetSecretBox(path).seal(SECRET)

    assert synced == [path.stat().st_ino, tmp_path.stat().st_ino]


def test_a_key_that_cannot_be_used(tmp_path: Path) -> None:
    """Its folder is missing, or it is no key: the operator is told where it should be."""
    with pytest.raises(SecretKeyUnavailable, match=r"nowhere/task\.key"):
        FernetSecretBox(tmp_path / "nowhere/task.key").seal(SECRET)
    (tmp_path / "odd.key").write_bytes(b"odd")
    with pytest.raises(SecretKeyUnavailable, match=r"odd\.key"):
        FernetSecretBox(tmp_path / "odd.key").seal(SECRET)


def test_concurrent_first_uses_make_one_key(tmp_path: Path) -> None:
    """The key of the first one counts for all."""
    path = tmp_path / "task.key"
    with ThreadPoolExecutor(16) as many:
        sealed = list(many.map(lambda _: FernetSecretBox(path).seal(SECRET), range(64)))

    assert {FernetSecretBox(path).open(one) for one in sealed} == {SECRET}
