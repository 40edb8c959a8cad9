"""Backups of a small installation: what is in them, and what is refused."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from imaged.catalogs.backup import copy_privately
from imaged.catalogs.connect import open_catalog
from imaged.catalogs.sqlite.engine import give_to
from imaged.config import load
from imaged.core.backup import Manifest
from imaged.core.claim import InstanceId
from imaged.core.errors import BackupError, CatalogError, CatalogExists, CatalogInUse
from imaged.core.summary import Instance
from imaged.daemon import restored_backup
from imaged.daemon.backup import LOCK_NAME, MadeBackup, make_backup
from imaged.daemon.backup_files import NEVER, newest_backup, time_of_newest_backup
from imaged.daemon.drivers import open_drivers
from imaged.daemon.restored_backup import check_backup, restore_backup
from support.command import Workspace

KEY = "1a/1a64a2d0-b4d3-4ce3-92ab-7e5d8befd90d.00000000000000000000000000000001"
DATA = b"the bytes of an image"


@dataclass(frozen=True)
class Installation:
    """Settings, secrets, a catalog with an image's blob, and a folder of backups."""

    workspace: Workspace
    backups: Path

    def back_up(self, *, with_bytes: bool = True, keep: int | None = None) -> MadeBackup:
        """Make a backup."""
        config = load(self.workspace.file)
        return make_backup(
            config, self.workspace.file, self.backups, with_bytes=with_bytes, keep=keep
        )

    def restore(self, made: MadeBackup, *, replace: bool = False) -> Manifest:
        """Check a backup, and put it back."""
        manifest = check_backup(made.folder)
        restore_backup(made.folder, manifest, None, replace=replace)
        return manifest

    @property
    def blob(self) -> Path:
        """The blob in the store."""
        return self.workspace.images / KEY


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """One that was used before, by a daemon that has ended."""
    workspace = Workspace(tmp_path / "machine")
    workspace.folder.mkdir()
    (tokens := workspace.folder / "tokens.toml").touch(0o640)
    (workspace.folder / "task.key").write_text("made-up")
    workspace.write(f"""
        [auth]
        token_file = "{tokens}"
        [tasks]
        key_file = "{workspace.folder / "task.key"}"
    """)
    (backups := tmp_path / "backups").mkdir()

    async def use() -> None:
        async with open_drivers(load(workspace.file, {})):
            return

    anyio.run(use)
    installation = Installation(workspace, backups)
    installation.blob.write_bytes(DATA)
    with closing(sqlite3.connect(workspace.catalog)) as catalog:
        catalog.execute(
            "INSERT INTO blobs (key, store, size_bytes, state, holders, failures)"
            " VALUES (?, 'local', ?, 'kept', 1, 0)",
            [KEY, len(DATA)],
        )
        catalog.commit()
    return installation


def test_a_backup_has_all_that_a_new_machine_needs(installation: Installation) -> None:
    """Catalog, settings, secrets, the marker and the bytes; only its owner may read it."""
    made = installation.back_up()

    manifest = check_backup(made.folder)
    home = installation.workspace.folder
    assert manifest == made.manifest
    assert [file.restore_to for file in manifest.files if file.restore_to] == [
        str(home / name) for name in ("imaged.toml", "task.key", "tokens.toml")
    ]
    assert [file.mode for file in manifest.files][-1] == "0640"
    assert manifest.catalog.blobs == 1
    assert [place.name for place in manifest.catalog.places] == ["local"]
    assert [(store.blobs, store.missing) for store in manifest.stores] == [(1, 0)]
    assert (made.folder / "stores/local" / KEY).stat().st_ino == installation.blob.stat().st_ino
    assert (made.folder / "stores/local/.imaged-place.json").exists()
    for path in (made.folder, *made.folder.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0 or path.stat().st_nlink == 2, path


def test_secrets_of_systemd_are_in_it_and_variables_by_name(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A credential has no path to be put back to; the value of a variable may be a secret."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "catalog.password").write_text("made-up")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    monkeypatch.setenv("IMAGED_SCRUBBER__DELAY", "12h")

    made = installation.back_up(with_bytes=False)

    (secret,) = [file for file in made.manifest.files if file.path.startswith("credentials/")]
    assert (secret.path, secret.restore_to) == ("credentials/catalog.password", "")
    assert (made.folder / secret.path).read_text() == "made-up"
    assert made.manifest.variables == ["IMAGED_SCRUBBER__DELAY"]


def test_a_missing_folder_is_not_made(installation: Installation) -> None:
    """Its disk may not be mounted: then a backup would lie on the system's own."""
    installation.backups.rmdir()
    with pytest.raises(BackupError, match=r"no folder .*Mount its disk, or make it"):
        installation.back_up()
    assert not installation.backups.exists()


def test_an_emptied_machine_gets_everything_back(installation: Installation) -> None:
    """To the old paths, with the old permissions."""
    made = installation.back_up()
    home = installation.workspace.folder
    for path in home.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    installation.workspace.images.mkdir()

    manifest = installation.restore(made)

    assert (home / "task.key").read_text() == "made-up"
    assert (home / "tokens.toml").stat().st_mode & 0o777 == 0o640
    assert installation.blob.read_bytes() == DATA
    again = installation.back_up().manifest
    assert again.catalog == manifest.catalog


def test_nothing_is_replaced_without_the_option(installation: Installation) -> None:
    """A catalog is refused, and settings that differ; what is the same is not in the way."""
    made = installation.back_up(with_bytes=False)
    with pytest.raises(CatalogExists, match="--replace"):
        installation.restore(made)
    settings = installation.workspace.file
    settings.write_text(settings.read_text() + "\n# changed")
    installation.workspace.catalog.unlink()
    with pytest.raises(BackupError, match=rf"{settings}: there already.*--replace"):
        installation.restore(made)
    assert settings.read_text().endswith("# changed")


def test_what_is_replaced_is_moved_aside(installation: Installation) -> None:
    """The catalog, and settings that differ."""
    made = installation.back_up(with_bytes=False)
    catalog, settings = installation.workspace.catalog, installation.workspace.file
    settings.write_text("# another one")
    before = catalog.read_bytes()

    installation.restore(made, replace=True)

    for path, content in ((catalog, before), (settings, b"# another one")):
        (aside,) = path.parent.glob(f"{path.name}.replaced-*Z")
        assert aside.read_bytes() == content
    assert load(settings, {}).backup.folder is None


def test_the_log_of_a_lost_catalog_is_in_the_way(installation: Installation) -> None:
    """SQLite would apply it to the restored file."""
    made = installation.back_up(with_bytes=False)
    catalog = installation.workspace.catalog
    catalog.unlink()
    (log := catalog.with_name("catalog.db-wal")).write_bytes(b"of the lost one")

    with pytest.raises(CatalogExists, match="the log of one"):
        installation.restore(made)
    installation.restore(made, replace=True)

    assert not log.exists()
    assert [path.read_bytes() for path in catalog.parent.glob("*.replaced-*-wal")] == [
        b"of the lost one"
    ]


def test_a_catalog_in_use_is_never_replaced(installation: Installation) -> None:
    """An instance that has just told that it lives keeps it."""
    made = installation.back_up(with_bytes=False)
    instance = Instance(InstanceId("east"), "0.1.0", ("api",))

    async def begin() -> None:
        catalog = await open_catalog(f"sqlite:///{installation.workspace.catalog}")
        await catalog.register_instance(instance, timedelta(hours=1))
        await catalog.close()

    anyio.run(begin)
    installation.workspace.file.write_text("# another one")
    with pytest.raises(CatalogInUse, match="east"):
        installation.restore(made, replace=True)
    assert installation.workspace.file.read_text() == "# another one"  # it is looked at first


def test_a_locked_catalog_is_never_replaced(installation: Installation) -> None:
    """Another program has it open for itself alone, perhaps to repair it."""
    made = installation.back_up(with_bytes=False)
    path = installation.workspace.catalog
    with closing(sqlite3.connect(path, isolation_level=None)) as catalog:
        catalog.execute("PRAGMA locking_mode = EXCLUSIVE")
        catalog.execute("BEGIN IMMEDIATE")
        with pytest.raises(CatalogInUse, match="has locked the catalog"):
            installation.restore(made, replace=True)
    installation.restore(made, replace=True)


def test_a_catalog_that_cannot_be_put_back_leaves_nothing(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full; and no other user could read the copy, however long it took."""
    made = installation.back_up(with_bytes=False)
    catalog, copy, modes = installation.workspace.catalog, shutil.copyfile, []

    def fill_the_disk(source: Path, target: Path) -> None:
        copy(source, target)
        modes.append(target.stat().st_mode & 0o777)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = catalog.read_bytes()
    monkeypatch.setattr(shutil, "copyfile", fill_the_disk)
    with pytest.raises(CatalogError, match="No space left on device"):
        installation.restore(made, replace=True)

    assert modes == [0o600]
    assert catalog.read_bytes() == before
    assert [path.name for path in catalog.parent.glob("catalog.db.*")] == []


def test_a_damaged_catalog_is_moved_aside(installation: Installation) -> None:
    """No instance can use it."""
    made = installation.back_up(with_bytes=False)
    catalog = installation.workspace.catalog
    catalog.write_bytes(b"no database" * 100)

    installation.restore(made, replace=True)

    assert [path.read_bytes() for path in catalog.parent.glob("catalog.db.replaced-*")] == [
        b"no database" * 100
    ]


def test_a_full_disk_moves_nothing_aside(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All files are copied before the first is replaced; a second try puts everything back."""
    made = installation.back_up(with_bytes=False)
    home = installation.workspace.folder
    settings, tokens = installation.workspace.file, home / "tokens.toml"
    for file in (settings, tokens):
        file.write_text("# another one")

    def copy_until_full(source: Path, target: Path) -> None:
        if source.name == tokens.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        copy_privately(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(restored_backup, "copy_privately", copy_until_full)
        with pytest.raises(BackupError, match="No space left"):
            installation.restore(made, replace=True)
    assert {file.read_text() for file in (settings, tokens)} == {"# another one"}

    installation.restore(made, replace=True)

    assert settings.read_text() != "# another one"
    assert [path.name for path in home.glob(".*")] == []


def test_links_in_the_way_of_root_are_not_followed(
    installation: Installation, tmp_path: Path
) -> None:
    """The daemon's user may make them; root makes backups, and restores them."""
    made = installation.back_up()
    (victim := tmp_path / "victim").write_text("of root")
    before = victim.stat()
    home, blobs = installation.workspace.folder, installation.workspace.images
    for link in (".task.key.restored", "catalog.db.restored"):
        (home / link).symlink_to(victim)
    (blobs / "link").symlink_to(tmp_path / "missing")
    (home / "task.key").unlink()
    installation.workspace.catalog.unlink()

    installation.restore(made)
    give_to(blobs / "link", home.stat())

    assert (home / "task.key").read_text() == "made-up"
    assert not (home / "task.key").is_symlink()
    assert (victim.read_text(), victim.stat().st_mode) == ("of root", before.st_mode)
    assert not (tmp_path / "missing").exists()

    lock = installation.backups / LOCK_NAME
    lock.unlink()
    lock.symlink_to(victim)
    with pytest.raises(BackupError, match="symbolic links"):
        installation.back_up()


def test_the_daemon_can_read_what_root_restores(installation: Installation) -> None:
    """A blob that is root's own, in a backup that root brought here, is copied for the owner of the
    store; the backup keeps its owner. Other users than root have nothing to give away.
    """
    made = installation.back_up()
    copy, store = made.folder / "stores/local" / KEY, installation.workspace.images
    installation.workspace.catalog.unlink()
    shutil.rmtree(installation.blob.parent)
    daemon = 12345 if os.geteuid() == 0 else os.geteuid()
    os.chown(store, daemon, -1)

    installation.restore(made)

    restored = [store, installation.blob.parent, installation.blob]
    assert {path.stat().st_uid for path in restored} == {daemon}
    assert installation.blob.read_bytes() == DATA
    assert copy.stat().st_uid == os.geteuid()


def test_a_flipped_bit_is_refused(installation: Installation) -> None:
    """In any file but blobs, also in the manifest; of blobs another size."""
    made = installation.back_up()
    files = [path for path in made.folder.rglob("*") if path.is_file()]
    for path in files:
        if path.stat().st_size == 0 or "stores" in path.relative_to(made.folder).parts:
            continue
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        original, _ = path.read_bytes(), path.write_bytes(data)
        with pytest.raises(BackupError):
            check_backup(made.folder)
        path.write_bytes(original)
    check_backup(made.folder)

    (made.folder / "stores/local" / KEY).unlink()
    with pytest.raises(BackupError, match="store local lacks 1 blob"):
        check_backup(made.folder)


def test_a_blob_that_is_gone_is_told(installation: Installation) -> None:
    """It was scrubbed after the catalog was copied, or is lost; the rest is a good backup."""
    installation.blob.unlink()

    (store,) = installation.back_up().manifest.stores

    assert (store.blobs, store.missing) == (0, 1)


def test_a_blob_is_copied_once_to_another_filesystem(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next backup there links what the one before has."""
    link = os.link

    def link_within_backups(source: Path, target: Path) -> None:
        if source.is_relative_to(installation.workspace.images):
            raise OSError(18, "Invalid cross-device link")
        link(source, target)

    monkeypatch.setattr(os, "link", link_within_backups)
    first, second = (installation.back_up().folder / "stores/local" / KEY for _ in range(2))

    assert first.read_bytes() == DATA
    assert first.stat().st_ino == second.stat().st_ino != installation.blob.stat().st_ino


def test_older_backups_go_when_a_new_one_is_complete(installation: Installation) -> None:
    """And leftovers of broken-off ones go at the next."""
    made = [installation.back_up(with_bytes=False).folder for _ in range(2)]
    (installation.backups / ".unfinished-x").mkdir()

    last = installation.back_up(with_bytes=False, keep=2)

    assert last.removed == made[:1]
    assert {path.name for path in installation.backups.iterdir()} == {
        LOCK_NAME,
        made[1].name,
        last.folder.name,
    }


def test_one_backup_is_made_at_a_time(installation: Installation) -> None:
    """In one folder: the other one's unfinished folder is not removed as a leftover."""
    with (installation.backups / LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BackupError, match="Another backup is being made"):
            installation.back_up()


def test_the_newest_whole_backup_counts(installation: Installation) -> None:
    """One without a good manifest does not, and a folder that cannot be read is an error."""
    assert anyio.run(time_of_newest_backup, installation.backups) == NEVER
    good, bad = installation.back_up(with_bytes=False), installation.back_up(with_bytes=False)
    (bad.folder / "manifest.json").write_text("{}")

    assert newest_backup(installation.backups) == good.manifest
    with pytest.raises(BackupError, match="cannot be read"):
        newest_backup(installation.backups / "missing")
    assert anyio.run(time_of_newest_backup, installation.backups / "missing") == NEVER


def test_a_folder_of_backups_is_no_backup(installation: Installation) -> None:
    """The error names the newest in it."""
    made = installation.back_up(with_bytes=False)

    with pytest.raises(BackupError, match=str(made.folder)):
        check_backup(installation.backups)
