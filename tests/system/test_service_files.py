"""The service files, as systemd itself judges them."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from imaged.cli import EXIT_MISCONFIGURED
from imaged.daemon.systemd import EXTEND_TIMEOUT
from imaged.stores.s3.settings import S3Settings
from imaged.units import parse_duration
from support.settings import configured

ROOT = Path(__file__).parents[2]
SERVICES = sorted((ROOT / "systemd").glob("*.service"))
DAEMONS = [service for service in SERVICES if service.name != "imaged-backup.service"]
UNITS = [*SERVICES, *(ROOT / "systemd").glob("*.socket"), *(ROOT / "systemd").glob("*.timer")]

#: A driver says by itself that a store or a catalog does not answer; this one takes longest.
SLOWEST = configured(S3Settings, bucket="images")
SLOWEST_ANSWER = SLOWEST.connect_timeout + SLOWEST.read_timeout

pytestmark = pytest.mark.system
each_service = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
each_daemon = pytest.mark.parametrize("service", DAEMONS, ids=lambda service: service.name)
each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)


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
def test_the_exposure_is_1_5_or_better(service: Path) -> None:
    """The score of a service that needs a folder and the network, and nothing else."""
    done = analyze("security", "--offline=true", "--threshold=15", str(service))

    assert done.returncode == 0, done.stdout
    score = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
    assert score is not None
    assert float(score[1]) <= 1.5


@each_unit
def test_nothing_is_misspelt(unit: Path, tmp_path: Path) -> None:
    """Copies that start a program which is here, as a user who is, pass without any remark."""
    for one in UNITS:
        text = re.sub(r"/usr/bin/imaged .*", "/bin/true", one.read_text())
        (tmp_path / one.name).write_text(re.sub(r"(?m)^(User|Group)=.*\n", "", text))
    copy = tmp_path / unit.name.replace("@", "@east")

    done = analyze("verify", "--man=no", str(copy))

    assert done.returncode == 0, done.stderr
    assert str(tmp_path) not in done.stderr


def settings(unit: Path) -> dict[str, str]:
    """The settings of a unit; of one that is there several times, the last."""
    return dict(assignments(unit))


def assignments(unit: Path) -> list[tuple[str, str]]:
    """The settings of a unit, in their order."""
    lines = (line for line in unit.read_text().splitlines() if not line.startswith("#"))
    pairs = (line.partition("=") for line in lines if "=" in line)
    return [(name, value) for name, _, value in pairs]


@each_daemon
def test_systemd_supervises_it(service: Path) -> None:
    """It says when it is ready and that it lives; what it does not finish is ended in the end."""
    told = settings(service)

    assert told["Type"] == "notify"  # Debian 12 does not know notify-reload
    start, *_ = told["ExecStart"].partition(" --config")
    check = told["ExecStart"].replace(start, "/usr/bin/imaged check-config --settings-only")
    reload = [value for name, value in assignments(service) if name == "ExecReload"]
    assert reload == [check, "/bin/kill -HUP $MAINPID"]
    assert told["RestartPreventExitStatus"] == str(EXIT_MISCONFIGURED)
    assert told["Restart"] == "on-failure"
    assert parse_duration(told["WatchdogSec"].replace("min", "m")) / 2 > SLOWEST_ANSWER
    assert parse_duration(told["TimeoutStopSec"]) >= EXTEND_TIMEOUT
    assert told["KillMode"] == "mixed"


@each_service
def test_it_starts_when_the_clock_is_set(service: Path) -> None:
    """Leases and delays go by it (docs/decisions/0028), and so do the names of backups."""
    told = settings(service)

    assert "time-sync.target" in told["After"].split()
    assert "time-sync.target" in told["Wants"].split()


def test_all_services_are_shut_in_alike() -> None:
    """One is as dangerous as the others: they read and write the same files."""
    shut_in = [
        service.read_text().partition("NoNewPrivileges=yes")[2].partition("[Install]")[0].strip()
        for service in SERVICES
    ]

    assert len(shut_in) == 5
    assert shut_in[0]
    assert len(set(shut_in)) == 1


def test_backups_are_made_each_night() -> None:
    """By a timer, also after a night in which the machine was off; all others come first."""
    timer = settings(ROOT / "systemd/imaged-backup.timer")
    service = settings(ROOT / "systemd/imaged-backup.service")

    assert timer["OnCalendar"] == "*-*-* 02:00:00"
    assert timer["Persistent"] == "yes"
    assert service["Type"] == "oneshot"
    assert service["ExecStart"].startswith("/usr/bin/imaged backup --keep ")
    assert service["IOSchedulingClass"] == "idle"
    assert "imaged/backups" in service["StateDirectory"].split()


def test_workers_get_what_others_leave() -> None:
    """Of the processors, also where shares of services decide."""
    assert settings(ROOT / "systemd/imaged-tasks.service")["CPUWeight"] == "2"


def test_the_socket_is_where_imaged_would_listen() -> None:
    """And has the name that imaged knows."""
    told = settings(ROOT / "systemd/imaged.socket")
    sample = tomllib.loads((ROOT / "config/imaged.toml").read_text())

    assert [told["ListenStream"]] == sample["api"]["bind"]
    assert told["FileDescriptorName"] == "api"


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
