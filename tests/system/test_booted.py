"""imaged under a systemd that runs: it starts, reloads, hangs, drains, dies and comes back."""

from __future__ import annotations

import json
import re
from functools import partial
from operator import ne

import pytest

from support.booted import PORT, Machine, until
from support.machine_client import MachineClient

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

STATUS = r"ready: 0 uploads, 0 tasks, \d+ pending delete, (next scrub \d+ s|scrubbing)"
DRAINING = r"draining for (\d+) s at most: 1 upload \(.*/s\)"


def start(machine: Machine, unit: str = "imaged") -> MachineClient:
    """Start it, and wait until it is ready, as systemctl does."""
    machine.systemctl("start", unit)
    return MachineClient(machine)


def test_it_is_ready_when_systemctl_returns(machine: Machine) -> None:
    """Installed by the how-to, it answers, and its status says what it is doing."""
    machine.systemctl("enable", "--now", "imaged")

    assert machine.show("imaged", "ActiveState") == "active"
    assert MachineClient(machine).ask("GET", "/healthcheck") == (200, b"OK")
    machine.wait_for("imaged", "StatusText", lambda text: bool(re.fullmatch(STATUS, text)))


def test_the_doctor_has_no_findings(machine: Machine) -> None:
    """On a default install, before the first start and after it; root checks as the daemon's user.

    The time service of the machine and its kernel are those of the host.
    """
    for step in ("before", "after"):
        done = machine.attempt("imaged", "doctor", "--json")
        findings = json.loads(done.stdout)["findings"]
        bad = [one for one in findings if one["level"] != "ok" and one["subject"] != "clock"]
        assert bad == [], step
        assert done.returncode <= 1
        assert ("user", "It checks as imaged, the owner of the stores.") in {
            (one["subject"], one["what"]) for one in findings
        }
        start(machine)


def test_root_may_look_first(machine: Machine) -> None:
    """Before the daemon was ever started: what that makes in the store is the daemon's."""
    store = machine.path("/var/lib/imaged/images")
    assert not list(store.iterdir())

    assert "The configuration is good" in machine.run("imaged", "check-config")

    assert {path.stat().st_uid for path in store.iterdir()} == {store.stat().st_uid} != {0}
    client = start(machine)
    client.store()


def test_a_rejected_reload_is_told(machine: Machine) -> None:
    """The reload fails and says why; it goes on as before. So it does after a bare signal, and its
    status says so until a reload is good.
    """
    client = start(machine)

    machine.configure("[scrubber]\ndelay = 'soon'")
    assert machine.attempt("systemctl", "reload", "imaged").returncode != 0
    assert "scrubber.delay" in errors_of(machine, "config.rejected")
    assert machine.show("imaged", "StatusText").startswith("ready: ")
    machine.systemctl("kill", "--kill-whom=main", "--signal=HUP", "imaged")
    machine.wait_for("imaged", "StatusText", lambda text: "reload was rejected" in text)
    assert client.ask("GET", "/healthcheck")[0] == 200

    machine.configure("")
    machine.systemctl("reload", "imaged")
    machine.wait_for("imaged", "StatusText", lambda text: text.startswith("ready: "))


@pytest.mark.parametrize("unit", ["imaged", "imaged-scrubber", "imaged-tasks"])
def test_a_start_with_a_mistake_is_not_repeated(machine: Machine, unit: str) -> None:
    """It fails at once and for good, and its status and the errors of the journal say why."""
    machine.configure("[scrubber]\ndelay = 'soon'")

    assert machine.attempt("systemctl", "start", unit).returncode != 0

    machine.wait_for(unit, "ActiveState", lambda state: state == "failed")
    assert machine.show(unit, "ExecMainStatus") == "78"
    assert machine.show(unit, "NRestarts") == "0"
    assert "scrubber.delay" in errors_of(machine, "daemon.start_failed")
    assert "scrubber.delay" in machine.attempt("systemctl", "status", unit).stdout
    assert machine.show(unit, "StatusText").startswith("not started: /etc/imaged/conf.d/test.toml")
    machine.configure("")
    machine.systemctl("start", unit)
    assert machine.show(unit, "ActiveState") == "active"


def test_a_start_without_a_store_is_repeated(machine: Machine) -> None:
    """Its disk may come: it is started again until it is there."""
    machine.configure("[stores.local]\npath = '/srv/images'")
    machine.override("imaged.service", {"RestartSec": "100ms", "ReadWritePaths": "/srv"})

    assert machine.attempt("systemctl", "start", "imaged").returncode != 0

    machine.wait_for("imaged", "NRestarts", lambda count: count not in {"", "0"})
    assert "/srv/images" in errors_of(machine, "daemon.start_failed")
    machine.run("install", "-d", "-o", "imaged", "/srv/images")
    machine.wait_for("imaged", "ActiveState", lambda state: state == "active")


def errors_of(machine: Machine, event: str) -> str:
    """What the journal has of an event, among the errors."""
    return until(
        lambda: machine.attempt("journalctl", "-p", "err", "-o", "cat", f"EVENT={event}").stdout,
        lambda text: event in text,
        lambda: machine.log("imaged*"),
    )


def test_the_watchdog_ends_a_hang(machine: Machine) -> None:
    """A process that stands still is ended, and another one answers; one that works is not."""
    machine.override("imaged.service", {"WatchdogSec": "2s", "TimeoutAbortSec": "1s"})
    client = start(machine)
    before = machine.show("imaged", "MainPID")
    for _ in range(4):  # twice as long as its watchdog would wait in vain
        fed_at = machine.show("imaged", "WatchdogTimestampMonotonic")
        machine.wait_for("imaged", "WatchdogTimestampMonotonic", partial(ne, fed_at))
    assert machine.show("imaged", "MainPID") == before

    machine.systemctl("kill", "--kill-whom=main", "--signal=STOP", "imaged")

    machine.wait_for("imaged", "MainPID", lambda pid: pid not in {before, "0"})
    machine.wait_for("imaged", "ActiveState", lambda state: state == "active")
    assert client.ask("GET", "/healthcheck")[0] == 200
    assert "Watchdog timeout" in machine.log("imaged")


def test_a_stop_lets_uploads_end(machine: Machine) -> None:
    """Longer than TimeoutStopSec: more time is asked for, again and again."""
    machine.override("imaged.service", {"TimeoutStopSec": "1s"})
    machine.configure("[daemon]\ndrain_timeout = '100s'")
    client = start(machine)
    image_id = client.create()
    slow = client.begin_upload(image_id, b"12345", 10)

    machine.systemctl("stop", "--no-block", "imaged")

    first = machine.wait_for("imaged", "StatusText", lambda text: bool(re.match(DRAINING, text)))
    machine.wait_for("imaged", "StatusText", lambda text: seconds(text) < seconds(first) - 3)
    slow.sock.sendall(b"67890")
    assert slow.getresponse().status == 204
    machine.wait_for("imaged", "ActiveState", lambda state: state == "inactive")
    assert machine.show("imaged", "Result") == "success"
    client = start(machine)
    assert client.download(image_id) == b"1234567890"


def seconds(status: str) -> int:
    """How long it drains at most."""
    found = re.match(DRAINING, status)
    assert found is not None, status
    return int(found[1])


def test_the_journal_finds_an_image(machine: Machine) -> None:
    """Fields of events are fields of the journal."""
    client = start(machine)
    image_id = client.store()

    found = until(
        lambda: machine.run("journalctl", f"IMAGE_ID={image_id}", "--output=cat").splitlines(),
        lambda lines: any("active" in line for line in lines),
        lambda: machine.log("imaged"),
    )

    other = machine.run("journalctl", "IMAGE_ID=another", "--output=cat")
    assert found
    assert not other.strip().replace("-- No entries --", "")


def test_the_journal_says_who_deleted_and_who_purged(machine: Machine) -> None:
    """The user and the address of a request, and the user of the system who typed a command; the
    image's history says the same.
    """
    client = start(machine)
    image_id = client.store()
    client.delete(image_id)
    machine.run("imaged", "purge", image_id, "--yes")

    deleted = json.loads(journal_of(machine, image_id, "image.deleted"))
    assert (deleted["USER_ID"], deleted["PEER"]) == ("admin", "127.0.0.1")
    assert deleted["SCRUB_DUE_AT"]
    scrubbed = json.loads(journal_of(machine, image_id, "image.scrubbed"))
    assert scrubbed["USER_ID"] == "operator:root"
    shown = json.loads(
        machine.run("imaged", "show", image_id, "--json", "--url", f"http://127.0.0.1:{PORT}")
    )
    told = {(one["action"], one["user_id"], one["peer"]) for one in shown["history"]}
    assert {
        ("deleted", "admin", "127.0.0.1"),
        ("scrubbed", "operator:root", None),
    } <= told


def journal_of(machine: Machine, image_id: str, event: str) -> str:
    """The last line of an event about an image, with its fields, when it is there."""
    asked = ("journalctl", f"IMAGE_ID={image_id}", f"EVENT={event}", "-o", "json", "-n1", "-q")
    return until(
        lambda: machine.run(*asked).strip(), bool, lambda: machine.log("imaged") or machine.log()
    )


def test_a_backup_is_made_by_its_service(machine: Machine) -> None:
    """Beside the daemon, shut in as it is; it belongs to the daemon's user, and is restored."""
    machine.configure('[backup]\nfolder = "/var/lib/imaged/backups"')
    image_id = start(machine).store(b"1234567890")
    machine.systemctl("start", "imaged-backup")
    (made,) = machine.path("/var/lib/imaged/backups").glob("2*")
    backup = f"/var/lib/imaged/backups/{made.name}"

    machine.systemctl("stop", "imaged")
    told = machine.run("imaged", "restore-backup", backup, "--replace")

    user = machine.path("/var/lib/imaged").stat().st_uid
    assert {path.stat().st_uid for path in (made, made / "catalog.db")} == {user} != {0}
    assert machine.path("/var/lib/imaged/catalog.db").stat().st_uid == user
    assert "catalog: 1 image in " in told
    assert start(machine).download(image_id) == b"1234567890"
    assert machine.run("systemctl", "list-unit-files", "--quiet", "imaged-backup.timer")
