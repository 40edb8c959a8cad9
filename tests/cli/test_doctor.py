"""``imaged doctor`` on machines that are well, and on some that are not."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from imaged.cli.doctor import Finding, Level, check_sources, worst
from imaged.cli.doctor.addresses import listening_inodes, process_behind
from imaged.cli.doctor.catalog import check_leases, check_wal_size, compare_clocks
from imaged.cli.doctor.files import filesystem_of
from imaged.cli.doctor.host import (
    ClockSample,
    check_clock_jump,
    check_open_files,
    check_time_synchronization,
    check_unit,
    read_time_span,
)
from imaged.cli.doctor.stores import other_owner
from imaged.config import find_sources, load
from imaged.core.claim import InstanceId
from imaged.core.lifecycle import Status
from imaged.core.limits import MIB
from imaged.core.place_marker import MARKER_NAME
from imaged.core.summary import HeldImage, Instance, Summary
from imaged.server.settings import TcpAddress, UnixAddress
from support.command import Workspace, serving
from support.imaged_process import IMAGED
from support.waiting import wait_until

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LARGEST_FILE = 150_000  # less than a catalog needs for a large record
MACHINES_OWN = {"clock", "open files"}  # what a test cannot choose


def examined(
    workspace: Workspace, *arguments: str, **environment: str
) -> tuple[int, list[dict[str, Any]]]:
    """The exit code, and the findings."""
    done = workspace.imaged("doctor", "--json", *arguments, **environment)
    assert not done.stderr
    findings: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return done.returncode, findings


def bad(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that are not ok, but for what the machine has of its own."""
    return [
        finding
        for finding in findings
        if finding["level"] != "ok" and finding["subject"] not in MACHINES_OWN
    ]


def test_a_good_installation_has_no_findings(workspace: Workspace) -> None:
    """Everything is checked, and nothing is created."""
    code, findings = examined(workspace)
    subjects = {finding["subject"] for finding in findings}

    assert not bad(findings)
    assert code == max(Level[finding["level"].upper()] for finding in findings)
    assert {
        "configuration",
        f"file {workspace.file}",
        "store local",
        "catalog",
        "clock",
    } <= subjects
    assert {"open files", "unit", "address 127.0.0.1:0"} <= subjects
    assert not workspace.catalog.exists()


def test_a_running_installation(workspace: Workspace) -> None:
    """Beside a daemon: it answers, and the instances are listed."""
    with serving(workspace.file) as daemon:
        address = daemon.wait_for("daemon.started")["bind"][0]
        _, findings = examined(workspace, IMAGED_API__BIND=address)
    by_subject = {finding["subject"]: finding["what"] for finding in findings}

    assert not bad(findings)
    assert by_subject[f"address {address}"] == "A daemon answers there, and is ready."
    assert by_subject["instances"].startswith("At work: ")
    assert any("write-ahead log has" in one["what"] for one in findings)
    assert "apart" in " ".join(one["what"] for one in findings if one["subject"] == "clock")


def test_text_output_has_remedies(workspace: Workspace) -> None:
    """A line for each, with an arrow before the remedy; exit code 2 for problems."""
    workspace.images.rmdir()

    done = workspace.imaged("doctor")

    assert done.returncode == 2
    assert "problem  store local: The store 'local' needs the folder" in done.stdout
    assert "\n         → " in done.stdout
    assert "Problems: 1." in done.stdout


def test_a_daemon_without_settings_is_doubted(tmp_path: Path) -> None:
    """No file, no variable: perhaps --config was forgotten."""
    missing = tmp_path / "imaged.toml"
    variables = {"IMAGED_LOG__LEVEL": "debug"}

    forgotten = check_sources(find_sources(None, {}, missing))
    assert (forgotten.level, "--config" in forgotten.remedy) == (Level.WARNING, True)
    assert check_sources(find_sources(None, variables, missing)).level is Level.OK
    missing.touch()
    assert check_sources(find_sources(None, {}, missing)).level is Level.OK


def test_settings_that_are_wrong_are_problems(workspace: Workspace) -> None:
    """Each of them; what they name cannot be looked at then."""
    workspace.write("[scrubber]\ndelay = 'soon'\n[uplods]")

    code, findings = examined(workspace)

    assert code == 2
    assert [finding["subject"] for finding in bad(findings)] == ["configuration"] * 2


def test_a_folder_that_is_read_only_is_a_problem(workspace: Workspace) -> None:
    """A folder in which even root, as which tests may run, cannot create a file."""
    code, findings = examined(workspace, IMAGED_STORES__LOCAL__PATH="/sys/kernel")

    (found,) = bad(findings)
    assert code == 2
    assert found["subject"] == "store local"
    assert "/sys/kernel" in found["what"]


def test_a_store_that_is_nearly_full(workspace: Workspace) -> None:
    """Less than must stay free is a problem; little more than that, a warning."""
    facts = os.statvfs(workspace.images)
    free = facts.f_bavail * facts.f_frsize
    _, full = examined(workspace, IMAGED_STORES__LOCAL__MIN_FREE=f"{free * 2}B")
    _, nearly = examined(workspace, IMAGED_STORES__LOCAL__MIN_FREE=f"{free // 2}B")

    assert [(one["level"], one["subject"]) for one in bad(full)] == [("problem", "store local")]
    assert "413" in bad(full)[0]["remedy"]
    assert [(one["level"], one["subject"]) for one in bad(nearly)] == [("warning", "store local")]


def test_a_catalog_that_cannot_grow(workspace: Workspace) -> None:
    """It can be opened and read, and seems well until something is written."""
    assert workspace.imaged("scrub", "--once").returncode == 0  # so there is a catalog
    for command in ("doctor", "check-config"):
        limit = ["prlimit", f"--fsize={LARGEST_FILE}"]
        done = subprocess.run(
            [*limit, IMAGED, command, "--config", str(workspace.file)],
            capture_output=True,
            check=False,
            encoding="utf-8",
        )
        assert done.returncode != 0
        assert "catalog.db cannot be read or written" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("log_bytes", "level"),
    [(0, Level.OK), (128 * MIB, Level.OK), (128 * MIB + 1, Level.WARNING)],
)
def test_the_length_of_sqlites_log_is_told(log_bytes: int, level: Level) -> None:
    """Somewhat more than daemons let it have is fine: they look every few seconds."""
    found = check_wal_size(log_bytes)

    assert (found.subject, found.level) == ("catalog", level)
    assert "write-ahead log has" in found.what


@pytest.mark.system
def test_a_full_disk_in_memory(workspace: Workspace) -> None:
    """A real one, of memory, without a byte left (mounts it: as root, with mount)."""
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(workspace.images)], check=True
    )
    try:
        workspace.imaged("check-config")  # makes the folders
        with (workspace.images / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while filler.write(b"x" * 4096):
                pass
        code, findings = examined(workspace)
    finally:
        subprocess.run(["umount", str(workspace.images)], check=True)

    assert code == 2
    assert {(one["level"], one["what"].partition(";")[0]) for one in bad(findings)} == {
        ("problem", "0 B are free"),
        ("warning", f"{workspace.images} is tmpfs: a restart loses all data."),
    }


def test_secrets_that_others_can_read_are_problems(workspace: Workspace) -> None:
    """And files of settings that others can write; and a secret that is missing."""
    tokens = workspace.folder / "tokens.toml"
    tokens.touch()
    workspace.write(f"[auth]\nmethod = 'token'\ntoken_file = '{tokens}'")
    tokens.chmod(0o644)
    workspace.file.chmod(0o646)
    code, findings = examined(workspace)
    tokens.chmod(0o600)
    workspace.file.chmod(0o644)
    _, mended = examined(workspace)
    tokens.unlink()
    _, missing = examined(workspace)

    assert code == 2
    assert {(one["subject"], one["what"]) for one in bad(findings)} == {
        (f"file {tokens}", "can be read by all users."),
        (f"file {workspace.file}", "can be changed by all users."),
    }
    assert not bad(mended)
    assert any("It is auth.token_file" in (one["remedy"] or "") for one in bad(missing))


def test_public_metrics_are_a_warning(workspace: Workspace) -> None:
    """Unless there is a token, whose file is looked at as every other secret."""
    token = workspace.folder / "metrics.token"
    token.write_text("a-token-for-prometheus")
    token.chmod(0o604)
    workspace.write("[metrics]\nbind = ['0.0.0.0:9293']")
    _, findings = examined(workspace)
    workspace.write(f"[metrics]\nbind = ['0.0.0.0:9293']\ntoken_file = '{token}'")
    _, with_token = examined(workspace)

    assert [one["subject"] for one in bad(findings)] == ["metrics at 0.0.0.0:9293"]
    assert [one["subject"] for one in bad(with_token)] == [f"file {token}"]


def test_an_address_of_another_program(workspace: Workspace) -> None:
    """Another program answers at the address of the daemon."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:  # knows no /readyz
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        code, findings = examined(workspace, IMAGED_API__BIND=address)
        server.shutdown()

    (found,) = bad(findings)
    assert code == 2
    assert found["subject"] == f"address {address}"
    assert found["what"].startswith("Another program answers there, not imaged. It is ")
    assert found["what"].endswith(f"(pid {os.getpid()}).")


def test_an_imaged_that_is_not_ready(workspace: Workspace) -> None:
    """It is told apart from another program, with what it lacks and its pid."""
    with serving(workspace.file) as daemon:
        address = daemon.wait_for("daemon.started")["bind"][0]
        (workspace.images / MARKER_NAME).unlink()
        wait_until(lambda: daemon.ask("/readyz")[0] == 503, daemon.log.read_text)
        _, findings = examined(workspace, IMAGED_API__BIND=address)
        pid = daemon.process.pid

    (found,) = [one for one in bad(findings) if one["subject"] == f"address {address}"]
    assert found["what"].startswith("imaged answers there and is not ready: store local. It is ")
    assert found["what"].endswith(f"(pid {pid}).")


def test_connections_do_not_count_as_listeners() -> None:
    """A client of a port may have that port itself, and so has each accepted connection."""
    rows = ("0: 0100007F:244C 00000000:0000 0A", "1: 0100007F:244C 0100007F:9C40 01")
    table = "".join(f"\n{row} 0:0 0:0 0 0 0 {inode}" for row, inode in zip(rows, "78", strict=True))

    assert listening_inodes(f"  sl  local_address{table}", 0x244C) == {"7"}
    assert listening_inodes(f"  sl  local_address{table}", 0x244D) == set()


def test_the_process_that_listens_is_found(tmp_path: Path) -> None:
    """At a port and at a socket; and none where nothing listens any more."""
    socket_address = UnixAddress(tmp_path / "api.sock")
    with socket.create_server(("127.0.0.1", 0)) as port, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(socket_address.path))
        unix.listen()
        tcp_address = TcpAddress("127.0.0.1", port.getsockname()[1])
        for address in (tcp_address, socket_address):
            assert process_behind(address).endswith(f"(pid {os.getpid()})")

    assert process_behind(tcp_address) == process_behind(socket_address) == ""


def test_the_files_that_were_read_are_named(workspace: Workspace) -> None:
    """By both commands, with the variables; and that there is none, if there is none."""
    drop_in = workspace.folder / "conf.d/1.toml"
    drop_in.parent.mkdir()
    drop_in.touch()
    _, findings = examined(workspace, IMAGED_LOG__LEVEL="debug")
    told = workspace.imaged("check-config", IMAGED_LOG__LEVEL="debug").stdout
    files = f"Read: {workspace.file}, {drop_in}. Of the environment: IMAGED_LOG__LEVEL."

    assert findings[0]["what"] == f"Every setting is understood. {files}"
    assert files in told
    missing = workspace.folder / "nowhere/imaged.toml"
    assert str(find_sources(environment={}, default_file=missing)) == (
        f"There is no {missing}. All settings have their defaults."
    )
    assert str(find_sources(missing, environment={})) == "No file was read."


def test_a_problem_is_told_with_the_line_of_its_setting(workspace: Workspace) -> None:
    """Also where the setting is understood, and what it names cannot be used."""
    workspace.images.rmdir()
    line = workspace.file.read_text().splitlines().index("            [stores.local]") + 1

    told = workspace.imaged("check-config").stderr

    assert told.startswith(f"{workspace.file}:{line}: stores.local: The store 'local' needs")


def test_clocks_are_compared_with_the_time_that_asking_took() -> None:
    """Only a difference beyond the time of the query counts."""
    levels = [
        compare_clocks(NOW + apart, NOW, NOW + 3 * SECOND).level
        for apart in (timedelta(0), 3 * SECOND, -SECOND, -2 * SECOND, 6 * SECOND, 70 * SECOND)
    ]

    assert levels == [
        Level.OK,
        Level.OK,
        Level.OK,
        Level.WARNING,
        Level.WARNING,
        Level.PROBLEM,
    ]


@pytest.mark.parametrize(
    ("held", "seconds_over", "level", "what"),
    [
        (0, 61, Level.OK, "Live instances work on 0 images."),
        (1, 30, Level.OK, "Live instances work on 1 image."),
        (1, 61, Level.PROBLEM, "Dead instances hold 1 image, an-image first."),
        (2, 61, Level.PROBLEM, "Dead instances hold 2 images, an-image first."),
    ],
)
def test_work_of_dead_instances_that_is_not_taken_back_is_a_problem(
    held: int, seconds_over: int, level: Level, what: str
) -> None:
    """A lease that ran out a moment ago is no problem yet."""
    until = NOW - seconds_over * SECOND
    holding = HeldImage(InstanceId("gone"), "an-image", Status.SAVING, NOW, until)
    summary = Summary(NOW, [], [holding] * held, {}, [], 0, 0, None)
    found = [*check_leases(summary, 60 * SECOND)]

    assert (worst(found), found[0].what) == (level, what)


def test_troubles_of_instances_and_places_are_warnings() -> None:
    """Each sentence, with its instance or place."""
    names = (InstanceId("well"), InstanceId("ill"))
    well, ill = (Instance(name, "1.0", ("scrubber",)) for name in names)
    ill = replace(ill, troubles=("reclaimer: i failed 3 times: It is locked.",))
    summary = Summary(
        NOW, [well, ill], [], {}, [], 0, 0, None, warnings=["store local: it lost half its blobs"]
    )

    told = [one.what for one in check_leases(summary, SECOND) if one.level is Level.WARNING]

    assert told == [
        "store local: it lost half its blobs.",
        "ill says: reclaimer: i failed 3 times: It is locked.",
    ]


def test_a_clock_that_jumps_is_noticed() -> None:
    """Compared with the monotonic clock."""
    began = ClockSample(wall=1000.0, steady=10.0)

    assert check_clock_jump(began, ClockSample(1005.0, 15.1)).level is Level.OK
    assert check_clock_jump(began, ClockSample(1002.0, 15.0)).level is Level.WARNING
    assert check_clock_jump(began, ClockSample(1060.0, 15.0)).level is Level.WARNING


@pytest.mark.parametrize(
    ("state", "level"), [(0, Level.OK), (5, Level.WARNING), (-1, Level.OK), (2, Level.OK)]
)
def test_the_kernel_knows_whether_the_clock_is_kept(state: int, level: Level) -> None:
    """An unknown state is no warning."""
    assert check_time_synchronization(state).level is level


@pytest.mark.parametrize(
    ("limits", "level"),
    [((1024, 524_288), Level.OK), ((1024, 1024), Level.WARNING), ((1024, -1), Level.OK)],
)
def test_open_files_need_room(limits: tuple[int, int], level: Level) -> None:
    """What counts is how far a process may raise it; -1 is no limit."""
    assert check_open_files(limits).level is level


def test_the_filesystem_of_a_path_is_that_of_the_last_mount_above_it(tmp_path: Path) -> None:
    """Also with a space in its name, and with one mounted over another."""
    spaced = tmp_path / "a b"
    spaced.mkdir()
    escaped = str(spaced).replace(" ", r"\040")
    mounts = (
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"2 1 0:9 / {escaped} rw - xfs /dev/sdb rw\n"
        f"3 1 0:9 / {escaped} rw shared:5 - nfs4 server:/x rw\n"
    )

    assert filesystem_of(spaced / "images", mounts) == "nfs4"
    assert filesystem_of(tmp_path, mounts) == "ext4"
    assert filesystem_of(tmp_path)


def test_root_leaves_the_store_of_others_alone(tmp_path: Path) -> None:
    """The owner could not use files created by root."""
    mine = tmp_path / "mine"
    mine.mkdir()

    assert not other_owner(mine)
    assert not other_owner(tmp_path / "missing")


def unit_findings(
    workspace: Workspace, folder: Path, service: str, drop_in: str = ""
) -> list[Finding]:
    """The findings for such a unit."""
    (folder / "imaged.service.d").mkdir(parents=True)
    (folder / "imaged.service").write_text(f"[Service]\n{service}")
    (folder / "imaged.service.d" / "more.conf").write_text(f"[Service]\n{drop_in}")
    findings = check_unit(load(workspace.file, {}), [folder])
    return [finding for finding in findings if finding.level is not Level.OK]


def test_a_unit_that_may_not_write_into_the_store(workspace: Workspace, tmp_path: Path) -> None:
    """The remedy is the line to add; with it, all is well."""
    strict = "ProtectSystem=strict\nStateDirectory=imaged imaged/images\nTimeoutStopSec=6min\n"
    (found,) = unit_findings(workspace, tmp_path / "first", strict)
    line = found.remedy.rpartition(" ")[2]

    assert line == f"ReadWritePaths={workspace.images}"
    assert not unit_findings(workspace, tmp_path / "second", strict, line)


def test_a_unit_that_has_less_patience_than_the_daemon(
    workspace: Workspace, tmp_path: Path
) -> None:
    """The service manager would kill it while uploads drain."""
    short = unit_findings(workspace, tmp_path / "first", "TimeoutStopSec=5min")
    long = unit_findings(workspace, tmp_path / "second", "TimeoutStopSec=5min 1s")
    asks = unit_findings(workspace, tmp_path / "third", "Type=notify\nTimeoutStopSec=60s")

    assert ["TimeoutStopSec is 5m" in finding.what for finding in short] == [True]
    assert not long
    assert not asks  # it extends the time while it drains


@pytest.mark.parametrize(
    ("text", "span"),
    [("90", 90 * SECOND), ("1h 30min", 5400 * SECOND), ("infinity", None), ("6min", 360 * SECOND)],
)
def test_time_spans_of_units(text: str, span: timedelta | None) -> None:
    """Simple forms are read; other forms of systemd are unknown."""
    assert read_time_span(text) == span
