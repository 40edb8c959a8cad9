"""The service files, as systemd itself judges them."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from imaged.units import parse_duration

ROOT = Path(__file__).parents[2]
SERVICES = sorted((ROOT / "systemd").glob("*.service"))

pytestmark = pytest.mark.system
each_service = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask systemd-analyze, of Debian's package systemd."""
    assert shutil.which("systemd-analyze"), "apt-get install systemd"
    return subprocess.run(
        ["systemd-analyze", *arguments],
        capture_output=True,
        check=False,
        encoding="utf-8",
        timeout=60,
    )


@each_service
def test_the_exposure_is_3_or_better(service: Path) -> None:
    """The score of a service that needs its folder and nothing else of the machine."""
    done = analyze("security", "--offline=true", "--threshold=30", str(service))

    assert done.returncode == 0, done.stdout
    score = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
    assert score is not None
    assert float(score[1]) <= 3.0


@each_service
def test_nothing_is_misspelt(service: Path, tmp_path: Path) -> None:
    """A copy that starts a program which is here passes without any remark."""
    text = service.read_text().replace("/usr/bin/imaged", "/bin/true")
    copy = tmp_path / service.name
    copy.write_text(re.sub(r"(?m)^(User|Group)=.*\n", "", text))

    done = analyze("verify", "--man=no", str(copy))

    assert done.returncode == 0, done.stderr
    assert str(copy) not in done.stderr


@each_service
def test_a_stop_leaves_time_to_drain(service: Path) -> None:
    """What daemon.drain_timeout lets finish is not killed before."""
    settings = dict(line.split("=", 1) for line in service.read_text().splitlines() if "=" in line)
    assert settings["Type"] == "notify"
    assert settings["ExecReload"] == "/bin/kill -HUP $MAINPID"
    if "serve" in settings["ExecStart"]:
        sample = tomllib.loads((ROOT / "config/imaged.toml").read_text())
        patience = parse_duration(sample["daemon"]["drain_timeout"])
        assert parse_duration(settings["TimeoutStopSec"].replace("min", "m")) > patience


def test_the_user_is_one_that_systemd_can_make() -> None:
    """It has no home to write to and no shell."""
    done = subprocess.run(
        ["systemd-sysusers", "--dry-run", str(ROOT / "systemd/imaged.sysusers")],
        capture_output=True,
        check=False,
        encoding="utf-8",
    )

    assert done.returncode == 0, done.stderr
    assert "imaged" in done.stderr
    assert "nologin" in (ROOT / "systemd/imaged.sysusers").read_text()
