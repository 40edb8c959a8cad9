"""``imaged backup`` and ``imaged restore-backup``, beside a daemon, and where they are killed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from imaged.core.backup import UNFINISHED_PREFIX, is_backup_name
from support.command import Workspace, imaged, serving
from support.daemon import clean_environment

#: Runs a command that dies just before the manifest is written.
DIES = """
import os, signal
from imaged.cli import main
from imaged.daemon import backup
backup.write_manifest = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
main()
"""


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    """The folder of backups."""
    (folder := tmp_path / "backups").mkdir()
    return folder


@pytest.fixture
def machine(tmp_path: Path, backups: Path) -> Workspace:
    """A machine that watches its backups."""
    machine = Workspace(tmp_path / "machine")
    machine.folder.mkdir()
    machine.write(f"""
        [backup]
        folder = "{backups}"
        [metrics]
        bind = ["unix:{machine.folder / "metrics.sock"}"]
    """)
    return machine


def test_an_empty_machine_serves_what_was_backed_up(machine: Workspace) -> None:
    """A daemon works while it is backed up; its machine is lost, and an image is read again."""
    with serving(machine.file) as daemon:
        image = daemon.create_image(name="kept")
        assert daemon.upload(image, b"bytes") == 204
        done = machine.imaged("backup", "--with-bytes", "--json", "--verbose")
        made, said = json.loads(done.stdout), json.loads(done.stderr)
        refused = imaged("restore-backup", made["backup"], "--replace")
        assert daemon.end() == 0
    shutil.rmtree(machine.folder)
    machine.images.mkdir(parents=True)

    done = imaged("restore-backup", made["backup"])

    assert (said["event"], said["folder"], said["images"]) == ("backup.made", made["backup"], 1)
    assert said["stores_with_bytes"] == ["local"]
    assert said["user_id"].startswith("operator:")
    assert refused.returncode == 1
    assert "Instances use this catalog" in refused.stderr
    assert done.returncode == 0, done.stderr
    assert (made["catalog"]["images"], made["variables"]) == (1, [])
    assert machine.imaged("check-config").returncode == 0
    assert " 0 missing" in machine.imaged("reconcile").stdout
    with serving(machine.file) as daemon:
        assert daemon.show(f"/v2/images/{image}")["name"] == "kept"
        assert daemon.ask(f"/v2/images/{image}/file") == (200, b"bytes")


def test_a_killed_backup_is_none(machine: Workspace, backups: Path) -> None:
    """It cannot be restored, is not counted, and is removed by the next one."""
    assert machine.imaged("migrate").returncode == 0
    command = [sys.executable, "-c", DIES, "backup", "--config", str(machine.file)]
    killed = subprocess.run(command, env=clean_environment(), check=False)
    (leftover,) = backups.glob(f"{UNFINISHED_PREFIX}*")

    assert killed.returncode == -signal.SIGKILL
    assert (leftover / "catalog.db").exists()
    assert imaged("restore-backup", str(leftover)).returncode == 1
    assert not any(is_backup_name(path.name) for path in backups.iterdir())
    assert machine.imaged("backup").returncode == 0
    assert not leftover.exists()
    assert len([path for path in backups.iterdir() if is_backup_name(path.name)]) == 1


def test_the_folder_has_to_be_named(workspace: Workspace) -> None:
    """By the argument or by backup.folder; it is not made, because its disk may be missing."""
    unnamed = workspace.imaged("backup")
    missing = workspace.imaged("backup", str(workspace.folder / "missing"))

    assert unnamed.returncode == 2
    assert "backup.folder" in unnamed.stderr
    assert missing.returncode == 1
    assert f"{workspace.folder / 'missing'}" in missing.stderr


def test_a_missing_backup_is_told(machine: Workspace) -> None:
    """By the doctor and by the status, until there is one."""
    machine.imaged("migrate")

    def told() -> tuple[str, list[str]]:
        findings = json.loads(machine.imaged("doctor", "--json").stdout)["findings"]
        (level,) = [one["level"] for one in findings if one["subject"] == "backup"]
        return level, json.loads(machine.imaged("status", "--json").stdout)["warnings"]

    level, (warning,) = told()
    assert level == "warning"
    assert warning.startswith("There is no backup in ")
    machine.imaged("backup")
    assert told() == ("ok", [])
