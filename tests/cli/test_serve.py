"""``imaged serve`` as a process: it starts, heeds signals, drains and ends."""

from __future__ import annotations

import re
import signal
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from imaged.cli import token
from imaged.server.listeners import listener_address
from support.command import ServerProcess, Workspace, serving
from support.service_manager import listening_service_manager
from support.waiting import is_listening

STATUS = r"ready: 0 uploads, 0 tasks, 0 pending delete, (next scrub \d+ s|scrubbing)"


def status_of(daemon: ServerProcess, image_id: str) -> str:
    """The status of the image."""
    status: str = daemon.show(f"/v2/images/{image_id}")["status"]
    return status


def lease_end(workspace: Workspace) -> int:
    """When the one lease that there is runs out."""
    with closing(sqlite3.connect(workspace.catalog)) as db:
        (end,) = db.execute("SELECT until FROM claims").fetchone()
        return int(end)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_serve_answers_until_a_signal(workspace: Workspace, how: signal.Signals) -> None:
    """Exit code 0, and the log tells of begin and end. Every logger writes JSON, which begins with
    timestamp, level and event.
    """
    with serving(workspace.file, PYTHONASYNCIODEBUG="1") as daemon:
        assert daemon.ask("/healthcheck") == (200, b"OK")
        assert daemon.end(how) == 0

    assert all([*event][:3] == ["timestamp", "level", "event"] for event in daemon.events())
    started, _, _ = (
        daemon.wait_for(f"daemon.{what}") for what in ("started", "stopping", "stopped")
    )
    assert started["stores"] == ["local"]
    assert started["catalog"] == f"sqlite:///{workspace.catalog}"
    assert started["version"]


def test_a_reload_applies_what_it_can_and_tells(workspace: Workspace) -> None:
    """A bad one changes nothing, and all problems are logged. Settings that need a restart are
    reported, and nothing else changes.
    """
    with serving(workspace.file) as daemon:
        daemon.wait_for("daemon.started")
        workspace.write("[scrubber]\ndelay = '2h'\nevery = 'soon'\n[uplods]")
        daemon.reload()
        daemon.wait_for("config.rejected", count=2)
        assert daemon.ask("/healthcheck")[0] == 200
        workspace.write("[scrubber]\ndelay = '2h'\n[uploads]\ntransfer_budget = '1GiB'")
        daemon.reload()
        reloaded = daemon.wait_for("config.reloaded")
        needed = daemon.wait_for("config.restart_needed")
        daemon.reload()
        again = daemon.wait_for("config.reloaded", count=2)

    assert reloaded["changes"] == {"scrubber.delay": {"from": "1d", "to": "2h"}}
    assert needed["settings"] == ["uploads.transfer_budget"]
    assert again["changes"] == {}


def test_a_reload_reaches_the_services(workspace: Workspace) -> None:
    """A lower limit holds for the next upload, and a louder log for the next event."""
    with serving(workspace.file) as daemon:
        image_id = daemon.create_image()
        workspace.write("[uploads]\nmax_size = '4B'\n[log]\nlevel = 'debug'")
        daemon.reload()
        daemon.wait_for("config.reloaded")
        assert daemon.upload(image_id, b"12345") == 413
        assert daemon.wait_for("request.finished")["level"] == "debug"


def test_a_reload_reads_the_tokens_again(workspace: Workspace, tmp_path: Path) -> None:
    """A new token is known at once; a broken file is rejected, and the old tokens stay."""
    file = tmp_path / "tokens.toml"
    file.write_text("")
    workspace.write(f"[auth]\nmethod = 'token'\ntoken_file = '{file}'")

    def ask(token: str) -> int:
        return daemon.ask("/v2/images", X_Auth_Token=token)[0]

    with serving(workspace.file) as daemon:
        assert ask("made-up") == 401
        file.write_text(token.entry("made-up", "ann", "web", ["member"]))
        daemon.reload()
        daemon.wait_for("config.reloaded")
        assert ask("made-up") == 200
        file.write_text("[[token]]\n")
        daemon.reload()
        daemon.wait_for("config.rejected")
        assert ask("made-up") == 200


def test_a_reload_reads_the_rules_again(workspace: Workspace, tmp_path: Path) -> None:
    """New rules hold at once; a broken file is rejected, and the old rules stay."""
    tokens, policy = tmp_path / "tokens.toml", tmp_path / "policy.yaml"
    tokens.write_text(token.entry("made-up", "ann", "web", ["reader"]))
    policy.write_text("")
    workspace.write(f"[auth]\nmethod = 'token'\ntoken_file = '{tokens}'\npolicy_file = '{policy}'")

    def ask() -> tuple[int, int]:
        """With the token, and without one."""
        with_token = daemon.ask("/v2/images", X_Auth_Token="made-up")[0]
        return with_token, daemon.ask("/v2/images")[0]

    with serving(workspace.file) as daemon:
        assert ask() == (200, 401)
        policy.write_text("get_images: role:auditor")
        workspace.write(
            f"[auth]\nmethod = 'token'\ntoken_file = '{tokens}'\npolicy_file = '{policy}'\n"
            "anonymous_read = true"
        )
        daemon.reload()
        daemon.wait_for("config.reloaded")
        assert ask() == (403, 200)
        policy.write_text("get_images: role:reader or")
        daemon.reload()
        why = daemon.wait_for("config.rejected")["why"]
        assert f"{policy}, line 1, rule 'get_images', column 15" in why
        assert ask() == (403, 200)


def test_draining_waits_for_an_upload(workspace: Workspace) -> None:
    """The upload in flight is finished and durable, and new connections are refused. The heartbeat
    ends last: work still being finished is not reclaimed.
    """
    workspace.write("[claims]\nlease = '900ms'\nrenew_every = '300ms'")
    with serving(workspace.file) as daemon:
        image_id = daemon.create_image()
        slow = daemon.begin_upload(image_id)
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.wait_for("daemon.stopping")["in_flight"] == 1
        while is_listening(urlsplit(daemon.url).port or 0):
            assert daemon.process.poll() is None
        ends = {lease_end(workspace)}
        while len(ends) < 5:
            ends.add(lease_end(workspace))
            assert daemon.process.poll() is None
        slow.send(b"67890")
        assert slow.getresponse().status == 204
        assert daemon.process.wait(30) == 0

    with serving(workspace.file) as daemon:
        assert status_of(daemon, image_id) == "active"


@pytest.mark.parametrize("patience", ["0", "1h"])
def test_unfinished_work_is_given_back(workspace: Workspace, patience: str) -> None:
    """After drain_timeout, or a second signal, the client is told and can try again at once.

    By 502: after 503 clients repeat uploads by themselves, with the rest of the file (decision 30).
    """
    workspace.write(f"[daemon]\ndrain_timeout = '{patience}'")
    with serving(workspace.file) as daemon:
        image_id = daemon.create_image()
        slow = daemon.begin_upload(image_id)
        daemon.process.send_signal(signal.SIGTERM)
        if patience != "0":
            daemon.wait_for("daemon.stopping")
            daemon.process.send_signal(signal.SIGTERM)
        assert slow.getresponse().status == 502
        assert daemon.process.wait(30) == 0
        assert not [event for event in daemon.events() if event["level"] == "error"]

    with serving(workspace.file) as daemon:
        assert status_of(daemon, image_id) == "queued"


def test_it_listens_on_several_addresses(workspace: Workspace, tmp_path: Path) -> None:
    """Ports and sockets; one that a killed process left is taken over, and none is left."""
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(path))
    with serving(workspace.file, IMAGED_API__BIND=f"127.0.0.1:0,[::1]:0,unix:{path}") as daemon:
        bind = daemon.wait_for("daemon.started")["bind"]
        assert [name.rpartition(":")[0] for name in bind] == ["127.0.0.1", "[::1]", "unix"]
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200 OK")
        assert daemon.end() == 0

    assert not path.exists()


def test_scrub_is_a_daemon_that_only_scrubs(workspace: Workspace) -> None:
    """It serves no requests, reloads at once and ends like a daemon."""
    with serving(workspace.file) as daemon:
        image_id = daemon.create_image()
        assert daemon.upload(image_id, b"data") == 204
        assert daemon.ask(f"/v2/images/{image_id}", "DELETE")[0] == 204
        daemon.end()
    workspace.write("[scrubber]\nevery = '1h'")
    with serving(workspace.file, "scrub") as scrubber:
        started = scrubber.wait_for("daemon.started")
        workspace.write("[scrubber]\nevery = '1h'\ndelay = '0'")
        scrubber.reload()
        scrubbed = scrubber.wait_for("scrub.finished")
        assert scrubber.end() == 0

    assert (started["roles"], started["bind"]) == (["scrubber"], [])
    assert scrubbed["deleted"] == 1


def test_systemd_is_told(workspace: Workspace, tmp_path: Path) -> None:
    """Ready, reloading, ready again, stopping: in this order; and in between what goes on. After
    a reload that was rejected it is ready too, and says so.
    """
    with (
        listening_service_manager(tmp_path) as manager,
        serving(workspace.file, NOTIFY_SOCKET=manager.address) as daemon,
    ):
        ready = manager.wait_for_key("READY")
        status = manager.wait_for(lambda message: "pending" in message["STATUS"])["STATUS"]
        daemon.reload()
        reloading, again = manager.wait_for_key("RELOADING"), manager.wait_for_key("READY")
        workspace.write("[uplods]")
        daemon.reload()
        rejected = manager.wait_for_key("READY")
        _, probe = daemon.ask("/readyz")
        workspace.write()
        daemon.reload()
        mended = manager.wait_for_key("READY")
        daemon.end()
        stopping = manager.wait_for_key("STOPPING")

    assert ready["READY"] == again["READY"] == reloading["RELOADING"] == stopping["STOPPING"] == "1"
    assert int(reloading["MONOTONIC_USEC"]) > 0
    assert ready["STATUS"].startswith("ready: 0 uploads, ")
    assert rejected["STATUS"].startswith("ready, but the last reload was rejected: 0 uploads")
    assert probe.startswith(b"OK\nwarning: the last reload was rejected")
    assert mended["STATUS"].startswith("ready: 0 uploads")
    assert re.fullmatch(STATUS, status)
    assert stopping["STATUS"] == "draining for 5 min at most: 0 uploads"
    assert stopping["EXTEND_TIMEOUT_USEC"] == "30000000"


def test_systemd_is_told_of_an_upload(workspace: Workspace, tmp_path: Path) -> None:
    """While it lasts, and while the daemon waits for its end."""
    with (
        listening_service_manager(tmp_path) as manager,
        serving(workspace.file, NOTIFY_SOCKET=manager.address) as daemon,
    ):
        slow = daemon.begin_upload(daemon.create_image())
        manager.wait_for(lambda message: "1 upload (" in message["STATUS"])
        daemon.process.send_signal(signal.SIGTERM)
        asked = manager.wait_for_key("EXTEND_TIMEOUT_USEC")
        slow.send(b"67890")
        assert slow.getresponse().status == 204
        assert daemon.process.wait(30) == 0

    assert "1 upload (" in asked["STATUS"]


@pytest.mark.parametrize("processes", ["1", "2"])
def test_it_answers_at_sockets_that_systemd_opened(workspace: Workspace, processes: str) -> None:
    """They override api.bind, are logged by their addresses, and stay open at the end."""
    several = {"IMAGED_API__PROCESSES": processes}
    with socket.create_server(("127.0.0.1", 0)) as opened:
        with serving(workspace.file, sockets={"api": opened}, **several) as daemon:
            assert daemon.wait_for("daemon.started")["bind"] == [listener_address(opened)]
            assert daemon.ask("/healthcheck") == (200, b"OK")
            assert daemon.end() == 0
        with socket.create_connection(opened.getsockname()):
            pass
